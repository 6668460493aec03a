"""Networks cut out of a supernet compute what the supernet computes when it slices its weights at run time."""

from __future__ import annotations

import os
import tempfile
from collections import OrderedDict
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ofa_dynamic import DynamicSupernet
from ofa_samples import CLASSES, WIDTHS
from pickle_samples import Hostile

from cgir import CgirError
from examples.papers.ofa_supernet import LARGEST, Supernet, read_supernet, subnet
from frontends import spaces
from frontends.spaces.mbconv.ofa_mbv3 import Spec

PUBLISHED = {1.0: (16, 16, 24, 40, 80, 112, 160, 960, 1280), 1.2: (24, 24, 32, 48, 96, 136, 192, 1152, 1536)}


def save(path: Path, dynamic: DynamicSupernet) -> Path:
    torch.save({"state_dict": OrderedDict(dynamic.state_dict()), "epoch": 3}, path)
    return path


@cache
def sample() -> tuple[DynamicSupernet, Supernet]:
    dynamic = DynamicSupernet(WIDTHS, CLASSES, 0)
    with tempfile.TemporaryDirectory() as folder:
        return dynamic, read_supernet(save(Path(folder, "supernet"), dynamic))


def random_spec(rng: np.random.Generator) -> Spec:
    ks, e, d = (
        tuple(rng.choice(values, count).tolist())
        for values, count in (((3, 5, 7), 20), ((3, 4, 6), 20), ((2, 3, 4), 5))
    )
    return Spec(ks, e, d, 128)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_network_computes_what_the_supernet_does(seed: int) -> None:
    dynamic, supernet = sample()
    spec = random_spec(np.random.default_rng(seed))
    x = torch.randn(2, 3, 40, 36, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        found = subnet(spec, supernet)(x)
    expected = dynamic(x, spec.ks, spec.e, spec.d)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize(("part", "value"), [("ks", 3), ("ks", 5), ("e", 3), ("e", 4), ("d", 2), ("d", 3)])
def test_every_choice_is_another_network(part: str, value: int) -> None:
    _, supernet = sample()
    other = LARGEST._replace(**{part: (value,) * len(getattr(LARGEST, part))})
    x = torch.randn(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert not torch.allclose(subnet(LARGEST, supernet)(x), subnet(other, supernet)(x), rtol=1e-2)


@pytest.mark.parametrize("width", [1.0, 1.2])
@pytest.mark.parametrize("is_old", [False, True], ids=["zip", "stream"])
def test_the_width_is_found_and_both_file_formats_are_read(tmp_path: Path, width: float, is_old: bool) -> None:
    dynamic = DynamicSupernet(PUBLISHED[width], 1000, 1)
    torch.save({"state_dict": dynamic.state_dict()}, tmp_path / "s", _use_new_zipfile_serialization=not is_old)
    supernet = read_supernet(tmp_path / "s")
    assert supernet.space == spaces.get("ofa_mbv3", width=width)


def renamed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names of the authors' later releases."""
    return {name.replace(".mobile_inverted_conv.", ".conv."): value for name, value in state.items()}


def test_names_of_all_releases_and_bare_state_dicts_are_read(tmp_path: Path) -> None:
    dynamic, supernet = sample()
    torch.save(renamed(dynamic.state_dict()), tmp_path / "later")
    found = read_supernet(tmp_path / "later")
    assert found.space == supernet.space == spaces.get("ofa_mbv3", widths=WIDTHS, classes=CLASSES)
    assert found.weights.keys() == supernet.weights.keys()
    assert all(torch.equal(found.weights[name], supernet.weights[name]) for name in found.weights)
    assert found.digest != supernet.digest


BLOCK = "blocks.7.mobile_inverted_conv."
BAD = (
    (
        lambda state: state.pop(BLOCK + "depth_conv.conv.7to5_matrix"),
        r"no blocks\.7\.mobile_inverted_conv\.depth_conv\.conv\.7to5_matrix among 474",
    ),
    (lambda state: state.pop("classifier.linear.weight"), "no classifier.linear.weight among"),
    (
        lambda state: state.pop(BLOCK + "inverted_bottleneck.bn.bn.running_var"),
        r"no .*inverted_bottleneck\.bn\.bn\.running_var",
    ),
    (
        lambda state: state.update({BLOCK + "depth_conv.conv.conv.weight": torch.ones(96, 1, 5, 5)}),
        r"blocks\.7\.mobile_inverted_conv\.depth_conv\.conv\.conv\.weight is \(96, 1, 5, 5\); expected \(96, 1, 7, 7\)",
    ),
    (
        lambda state: state.update({BLOCK + "depth_conv.se.fc.reduce.bias": torch.ones(8)}),
        r"reduce\.bias is \(8,\); expected \(24,\)",
    ),
    (lambda state: state.update({"first_conv.conv.weight": torch.ones(9, 3, 3, 3)}), "a layer of 9 channels among"),
    (lambda state: state.update({"first_conv.conv.weight": torch.tensor(1.0)}), r"first_conv\.conv\.weight is \(\)"),
    (
        lambda state: state.update({"blocks.21.mobile_inverted_conv.depth_conv.bn.bn.weight": torch.ones(8)}),
        r"1 tensors that this supernet does not have, such as blocks\.21.*expected 21 blocks",
    ),
    (
        lambda state: state.update({"first_conv.bn.bias": torch.full((8,), torch.nan)}),
        "first_conv.bn.bias has a value that is not a finite",
    ),
    (lambda state: state.update({"first_conv.bn.bias": [1.0] * 8}), "first_conv.bn.bias is a list; expected a tensor"),
    (lambda state: state.clear(), "expected tensors by name"),
)


@pytest.mark.parametrize("case", range(len(BAD)))
def test_other_networks_are_told_by_the_tensor_that_differs(tmp_path: Path, case: int) -> None:
    change, complaint = BAD[case]
    state = OrderedDict(sample()[0].state_dict())
    change(state)
    torch.save({"state_dict": state}, tmp_path / "bad.pth")
    with pytest.raises(CgirError, match=complaint) as caught:
        read_supernet(tmp_path / "bad.pth")
    assert "\n" not in str(caught.value)
    assert "bad.pth: " in str(caught.value)


def test_damaged_and_hostile_files_are_told(tmp_path: Path) -> None:
    path = save(tmp_path / "supernet", sample()[0])
    raw = path.read_bytes()
    torch.save({"state_dict": Hostile(os.mkdir, str(tmp_path / "owned"))}, tmp_path / "hostile")
    (tmp_path / "cut").write_bytes(raw[: len(raw) // 2])
    (tmp_path / "text").write_text("<html>not found</html>")
    torch.save([1, 2], tmp_path / "list")
    for name in ("cut", "text", "list", "hostile", "missing"):
        with pytest.raises(CgirError) as caught:
            read_supernet(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "owned").exists()
