"""MnasNet and ProxylessNAS: strings, published networks against timm, torchvision and published counts."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from space_checks import assert_refused, check_traces

import cgir
import frontends
from cgir.analysis.weisfeiler_lehman import graph_hashes
from frontends import spaces
from frontends.spaces.mbconv.mnasnet import A1, B1, B1_WIDTHS
from frontends.spaces.mbconv.proxylessnas import MOBILE
from frontends.torch.torchvision_ops import declare

SMALL = "e=1 3 6 6 6 6 6;k=3 3 3 5 3 5 3;l=1 1 2 4 3 3 1;se=0 0 0 1 1 1 0;r=224"
GPU = (
    "5x5_MBConv3 Zero Zero Zero 7x7_MBConv3 Zero Zero 3x3_MBConv3 7x7_MBConv6 Zero Zero 5x5_MBConv3 5x5_MBConv6 Zero "
    "3x3_MBConv3 "
    "5x5_MBConv3 7x7_MBConv6 7x7_MBConv6 7x7_MBConv6 5x5_MBConv6 7x7_MBConv6"
)
CPU = (
    "3x3_MBConv6 3x3_MBConv3 3x3_MBConv3 3x3_MBConv3 3x3_MBConv6 3x3_MBConv3 3x3_MBConv3 5x5_MBConv3 3x3_MBConv6 Zero "
    "Zero 3x3_MBConv3 "
    "5x5_MBConv6 3x3_MBConv3 3x3_MBConv3 3x3_MBConv3 5x5_MBConv6 5x5_MBConv3 5x5_MBConv3 3x3_MBConv3 5x5_MBConv6"
)
BAD = (
    ("mnasnet", "", "1 parts"),
    ("mnasnet", A1.replace("se=", "s="), "part 3"),
    ("mnasnet", A1.replace("e=1", "e=1 1", 1), "8 numbers"),
    ("mnasnet", A1.replace("e=1", "e=2", 1), "number 0 of e"),
    ("mnasnet", A1.replace("l=1", "l=5"), "expected one of 1, 2, 3, 4"),
    ("mnasnet", A1.replace("224", "225"), "'225'"),
    ("proxylessnas", "Zero", "1 names"),
    ("proxylessnas", MOBILE.replace("7x7_MBConv6", "7x7_MBConv4", 1), "name 8"),
    ("proxylessnas", MOBILE.replace("5x5_MBConv3", "Zero", 1), "name 0"),
)


@pytest.mark.parametrize(("name", "text", "complaint"), BAD)
def test_bad_strings_are_named(name: str, text: str, complaint: str) -> None:
    assert_refused(spaces.get(name), text, complaint)


@pytest.mark.parametrize(
    ("name", "complaint"), [("mnasnet", "2 widths; expected 7"), ("proxylessnas", "2 widths; expected 7")]
)
def test_bad_skeletons_are_named(name: str, complaint: str) -> None:
    with pytest.raises(cgir.SpecError, match=complaint):
        spaces.get(name, widths=(16, 24))


def peer(library: str, name: str) -> cgir.Graph:
    """The graph of another library's network."""
    declare()
    import timm
    import torchvision

    with torch.device("meta"):
        model = timm.create_model(name) if library == "timm" else torchvision.models.get_model(name, weights=None)
    return frontends.trace(model.eval(), input_shape=(1, 3, 224, 224))


@pytest.mark.parametrize(
    ("library", "name", "text", "skeleton", "params", "macs"),
    [
        ("timm", "semnasnet_100", A1, {}, 3_887_038, 312e6),
        ("timm", "mnasnet_100", B1, {"widths": B1_WIDTHS}, 4_383_312, 315e6),
        ("torchvision", "mnasnet1_0", B1, {"widths": B1_WIDTHS}, 4_383_312, 315e6),
        ("timm", "mnasnet_small", SMALL, {"stem": 8, "widths": (8, 16, 16, 32, 32, 88, 144)}, 2_030_264, 68e6),
    ],
)
def test_published_mnasnets(
    library: str, name: str, text: str, skeleton: dict[str, Any], params: int, macs: float
) -> None:
    space = spaces.get("mnasnet", **skeleton)
    graph, other = space.graph(space.parse(text)), peer(library, name)
    assert cgir.isomorphic(graph, other), cgir.diff(graph, other)
    assert graph.num_params == params
    # table 1 of the paper and the authors' README, rounded to millions
    assert graph.flops / 2 == pytest.approx(macs, abs=6e5)


@pytest.mark.parametrize(
    ("text", "skeleton", "params"),
    [
        (MOBILE, {}, 4_080_512),
        (GPU, {"stem": 40, "widths": (24, 32, 56, 112, 128, 256, 432), "head": 1728}, 7_119_848),
        (CPU, {"stem": 40, "widths": (24, 32, 48, 88, 104, 216, 360), "head": 1432}, 4_361_648),
        (MOBILE, {"stem": 48, "widths": (24, 40, 56, 112, 136, 256, 448), "head": 1792}, 6_857_568),
    ],
)
def test_published_proxylessnas(text: str, skeleton: dict[str, Any], params: int) -> None:
    """Counts of the pretrained networks that the authors published, as pytorchcv states them."""
    space = spaces.get("proxylessnas", **skeleton)
    graph = space.graph(space.parse(text))
    assert graph.num_params == params
    if not skeleton:
        assert graph.flops / 2 == pytest.approx(320e6, abs=5e5)  # Cai et al. 2019, table 4


def timm_proxyless(text: str) -> torch.nn.Module:
    """The default skeleton from timm's MobileNetV2 blocks."""
    declare()
    from timm.models._efficientnet_builder import decode_arch_def
    from timm.models.efficientnet import EfficientNet

    stages, names = [["ds_r1_k3_s1_c16_noskip"]], iter(text.split())
    for channels, stride, size in ((32, 2, 4), (40, 2, 4), (80, 2, 4), (96, 1, 4), (192, 2, 4), (320, 1, 1)):
        ops = [(i, op) for i, op in enumerate(islice(names, size)) if op != "Zero"]
        stages.append([f"ir_r1_k{op[0]}_s{1 if i else stride}_e{op[-1]}_c{channels}" for i, op in ops])
    with torch.device("meta"):
        return EfficientNet(decode_arch_def(stages), num_features=1280, stem_size=32, act_layer=torch.nn.ReLU6).eval()


def test_graphs_of_proxylessnas_are_those_of_timm() -> None:
    space, rng = spaces.get("proxylessnas"), np.random.default_rng(3)
    for spec in (space.parse(MOBILE), *(space.sample(rng) for _ in range(4))):
        other = frontends.trace(timm_proxyless(space.format(spec)), space.inputs(spec))
        assert cgir.isomorphic(space.graph(spec), other), cgir.diff(space.graph(spec), other)


@pytest.mark.parametrize("name", ["mnasnet", "proxylessnas"])
def test_graphs_are_the_traced_networks(name: str) -> None:
    check_traces(spaces.get(name), 10, seed=1)


def test_sampling_is_uniform() -> None:
    rng, space = np.random.default_rng(0), spaces.get("mnasnet")
    specs = [space.sample(rng) for _ in range(2000)]
    for place, stages in enumerate(zip(*(spec.stages for spec in specs), strict=True)):
        for row, values in enumerate(zip(*stages, strict=True)):
            counts = Counter(values)
            assert len(counts) == (4, 3, 4, 2)[row]
            assert all(
                abs(count - 2000 / len(counts)) < 4 * np.sqrt(2000 / len(counts)) for count in counts.values()
            ), (place, row)
    proxyless = spaces.get("proxylessnas")
    drawn = [proxyless.sample(rng) for _ in range(2000)]
    for place, names in enumerate(zip(*drawn, strict=True)):
        counts = Counter(names)
        assert len(counts) == (6 if place % 4 == 0 else 7)
        assert all(abs(count - 2000 / len(counts)) < 4 * np.sqrt(2000 / len(counts)) for count in counts.values()), (
            place
        )


def test_mnasnet_has_no_two_equal_networks() -> None:
    space = spaces.get("mnasnet", stem=4, widths=(8, 12, 16, 20, 24, 28, 32), head=8, classes=2)
    rng = np.random.default_rng(1)
    specs = [spec._replace(r=96) for spec in islice(space.enumerate(), 0, 5 * 96 * 3, 5)]
    specs += [space.sample(rng) for _ in range(200)]
    batch = space.graphs(specs)
    assert len(set(graph_hashes(batch, [None] * len(batch)))) == len(set(specs))


@pytest.mark.parametrize("name", ["mnasnet", "proxylessnas"])
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_mutations_change_one_thing_and_the_network(name: str, seed: int) -> None:
    space, rng = spaces.get(name), np.random.default_rng(seed)
    spec = space.sample(rng)
    child = space.mutate(spec, rng)
    words, others = (space.format(each).replace(";", " ;").replace("=", "= ").split() for each in (spec, child))
    assert sum(a != b for a, b in zip(words, others, strict=True)) == 1
    assert space.graph(spec).hash != space.graph(child).hash


def test_where_a_stage_has_its_zero_does_not_matter() -> None:
    space = spaces.get("proxylessnas", stem=8, widths=(8,) * 7, head=8, image=(3, 32, 32))
    before, after = (
        space.parse(MOBILE.replace(old, new))
        for old, new in (("a", "a"), ("3x3_MBConv3 Zero Zero", "Zero 3x3_MBConv3 Zero"))
    )
    assert before != after
    assert cgir.isomorphic(space.graph(before), space.graph(after))


def test_cell_graphs_name_the_blocks() -> None:
    space = spaces.get("mnasnet")
    cell = space.cell_graph(space.parse(A1))
    assert cell.ops[:6] == (
        "input",
        "sepconv_k3_first",
        "mbconv_e6_k3_first",
        "mbconv_e6_k3",
        "mbconv_e3_k5_se_first",
        "mbconv_e3_k5_se",
    )
    assert len(cell.ops) == 2 + 16
    assert cell.edges == tuple((i, i + 1) for i in range(17))
    proxyless = spaces.get("proxylessnas")
    names = proxyless.cell_graph(proxyless.parse(MOBILE)).ops
    assert names[:5] == ("input", "5x5_MBConv3", "3x3_MBConv3", "identity", "identity")
    assert len(names) == 2 + 21
