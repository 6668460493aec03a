import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from cgir.errors import CgirError, FileFormatError
from encoders.engine.devices import as_device
from encoders.models.checkpoints import read_tensors, write_tensors
from search.one_shot import (
    Images,
    Trained,
    causal,
    load_images,
    load_trained,
    one_shot_statistics,
    select,
    supernet,
    train,
    untrained,
)
from search.one_shot.arguments import check_positive, check_types
from search.one_shot.checkpoints import KIND
from search.one_shot.ranking import draw_batches
from search.seeds import check_seed

SKELETON: dict[str, Any] = {"channels": 1, "cells": 1, "image": (1, 4, 4), "classes": 2}
NETWORK = supernet("nasbench201", **SKELETON)
IMAGES = Images(torch.randn(8, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2, 2)
QUIET: dict[str, Any] = {"progress": False, "device": "cpu"}
ANY = cast(Any, None)


def refused(message: str, call: Callable[[], object]) -> None:
    with pytest.raises(CgirError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_types_follow_the_default() -> None:
    defaults = {"flag": False, "count": 3, "rate": 0.5, "way": "a", "other": None}
    check_types("x", {"flag": True, "count": 0, "rate": 1, "way": "b", "other": [], "unknown": 1}, defaults)
    check_types("x", {"rate": np.float64(0.1)}, defaults)
    wrong = (("flag", "no"), ("flag", 1), ("count", 1.0), ("count", True), ("rate", "a"), ("rate", True), ("way", 1))
    for name, value in (*wrong, ("rate", float("nan")), ("rate", float("inf")), ("rate", 1e39), ("rate", None)):
        text = rf"^x: {name}={re.escape(repr(value))}; expected .*such as"
        refused(text, lambda n=name, v=value: check_types("x", {n: v}, defaults))
    check_positive("x", {"a": 0.1})
    for value in (0, -1, float("nan")):
        refused("^x: a=.*; expected a positive number", lambda v=value: check_positive("x", {"a": v}))
    for seed in (-1, 2**32, 1.0, None, True):
        refused("^x: seed=", lambda s=seed: check_seed("x", cast(int, s)))


@pytest.mark.parametrize(
    ("rule", "options"),
    [
        ("influential_magnitude", {"eta": "a"}),
        ("influential_magnitude", {"published": "no"}),  # a text is true
        ("influential_magnitude", {"batches": -1}),
        ("influential_magnitude", {"iterations": 0, "inverse": "conjugate_gradients"}),  # the inverse would be zero
        ("influence", {"iterations": 2.5}),
        ("perturbation", {"tune_lr": 0}),
        ("perturbation", {"tune_lr": "a"}),
        ("perturbation", {"criterion": ["loss"]}),
        ("zero_cost", {"proxy": ["naswot"]}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_an_option_of_a_rule_is_checked(rule: str, options: dict[str, Any]) -> None:
    name = next(iter(options))
    refused(f"{name}=.*; expected", lambda: select(untrained(NETWORK), IMAGES, rule, **options, **QUIET))


@pytest.mark.parametrize("name", ["p", "game", "repeats", "count", "batch"])
def test_an_option_of_causal_is_checked(name: str) -> None:
    refused(f"^causal: {name}='a'; expected", lambda: causal(NETWORK, IMAGES, **{name: "a"}, **QUIET))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("clip", float("inf")), ("lr", 1e39), ("min_lr", -1), ("momentum", 1.0), ("momentum", None), ("seed", -1)),
        *(("weight_decay", "a"), ("alpha_decay", -1), ("autocast", "no"), ("order", True), ("order", 1.0)),
    ],
)
def test_a_setting_is_checked(name: str, value: object) -> None:
    settings: dict[str, Any] = {"steps": 1, "batch": 4, name: value}
    refused(f"^one_shot.train: .*{name}=", lambda: train(NETWORK, IMAGES, IMAGES, **settings, **QUIET))


def test_other_objects_are_named() -> None:
    trained = untrained(NETWORK)
    refused("the supernet is a Trained", lambda: train(cast(Any, trained), IMAGES, IMAGES, steps=1, **QUIET))
    refused("the supernet is a Trained", lambda: causal(cast(Any, trained), IMAGES, **QUIET))
    refused("the images are a NoneType", lambda: select(trained, ANY, **QUIET))
    for call in (select, one_shot_statistics):
        refused("is a NasBench201Supernet; give what train", lambda c=call: c(cast(Any, NETWORK), IMAGES, **QUIET))
    short = Trained(NETWORK, torch.zeros(3), [], {})
    refused(r"logits of shape \(3,\); the supernet has 30", lambda: select(short, IMAGES, **QUIET))
    refused("pixels are a ndarray", lambda: Images(cast(Any, np.zeros((2, 1, 2, 2))), IMAGES.labels, 2))
    refused("on meta; expected the CPU", lambda: Images(torch.zeros(8, 1, 2, 2, device="meta"), IMAGES.labels, 2))
    refused("classes=2.0", lambda: Images(IMAGES.pixels, IMAGES.labels, cast(int, 2.0)))
    refused("expected \\(N, channels", lambda: Images(torch.zeros(8, 0, 2, 2), IMAGES.labels, 2))
    refused("no rule is called \\['argmax'\\]", lambda: select(trained, IMAGES, cast(str, ["argmax"]), **QUIET))
    for exclude in (3, None, [["none"]]):
        refused("exclude=.*; expected names", lambda e=exclude: select(trained, IMAGES, exclude=cast(Any, e), **QUIET))
    for device in (None, "meta"):
        refused("device=.*; expected auto", lambda d=device: as_device(cast(str, d)))
    refused("no such file", lambda: load_images(Path("missing.npz")))
    refused("no supernet is called \\[\\]", lambda: supernet(cast(str, [])))
    refused("normalize='no'", lambda: supernet("nasbench201", normalize=cast(bool, "no")))
    refused("seed=-1", lambda: supernet("nasbench201", seed=-1))
    refused("^one_shot_statistics: seed=-1", lambda: one_shot_statistics(trained, IMAGES, seed=-1, **QUIET))


def test_too_much_is_excluded_before_the_rule_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.one_shot.selection.on_device", None)
    names = NETWORK.choices[0].options
    refused("edge 1<-0: 1 of none", lambda: select(untrained(NETWORK), IMAGES, "influence", exclude=names, **QUIET))


def test_a_path_that_cannot_be_written_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.one_shot.training.TrainingRun", None)
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "x", 5):
        options = QUIET | {"path": path, "steps": 1}
        refused("one_shot.train: path=", lambda o=options: train(NETWORK, IMAGES, IMAGES, **o))


def test_weights_that_the_last_step_spoils_are_not_returned(tmp_path: Path) -> None:
    def spoiling() -> None:
        train(NETWORK, IMAGES, IMAGES, steps=1, batch=4, lr=3e38, weight_decay=1e3, path=tmp_path / "x", **QUIET)

    refused("after step 1 a weight is not finite; lower lr", spoiling)
    assert not (tmp_path / "x").exists()


def test_no_image_is_alone_in_a_batch() -> None:
    for count in range(2, 9):
        for batch in range(2, 5):
            sizes = [len(labels) for _, labels in draw_batches(NETWORK, IMAGES, count=count, batch=batch, seed=0)]
            assert sum(sizes) == count
            assert 2 <= min(sizes) <= max(sizes) <= batch + (batch == 2)


def damaged(tensors: dict[str, torch.Tensor], meta: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    for name in ("logits", "adam.0.exp_avg", "sgd.0.momentum_buffer"):
        yield tensors | {name: tensors[name].flatten()[:1].clone()}, meta  # would be broadcast
    yield {name: value.half() if name.startswith("model.") else value for name, value in tensors.items()}, meta
    for part, value in (("step", -1), ("step", 99), ("history", [1]), ("settings", []), ("supernet", 1), ("data", [])):
        yield tensors, meta | {part: value}


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    train(NETWORK, IMAGES, IMAGES, steps=1, batch=4, path=path, **QUIET)
    tensors, meta = read_tensors(path, KIND)
    own = {key: value for key, value in meta.items() if key not in ("kind", "version")}
    for number, (changed_tensors, changed_meta) in enumerate(damaged(tensors, own)):
        write_tensors(path, KIND, changed_tensors, changed_meta)
        if number != 3:  # weights of another type are brought to the network's
            with pytest.raises(FileFormatError):
                train(NETWORK, IMAGES, IMAGES, steps=1, batch=4, path=path, **QUIET)
        with pytest.raises(FileFormatError):
            load_trained(path)


@contextmanager
def in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


MODES: dict[str, Callable[[], Any]] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "float64": in_float64,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
}


@pytest.mark.parametrize("mode", MODES)
def test_modes_of_the_caller_change_nothing(mode: str, tmp_path: Path) -> None:
    def results(path: Path) -> list[torch.Tensor]:
        network = supernet("nasbench201", **SKELETON)
        trained = train(network, IMAGES, IMAGES, steps=2, batch=4, order=2, path=path, **QUIET)
        loaded = load_trained(path)
        scores = select(loaded, IMAGES, "influential_magnitude", batch=4, **QUIET).scores
        tensors = [*trained.supernet.parameters(), *loaded.supernet.parameters(), trained.logits, loaded.mixture]
        return [*tensors, untrained(network).mixture, torch.tensor(np.stack(scores))]

    expected = results(tmp_path / "plain")
    with MODES[mode]():
        before = torch.get_default_dtype(), torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        found = results(tmp_path / mode)
        assert before == (torch.get_default_dtype(), torch.is_grad_enabled(), torch.is_inference_mode_enabled())
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
    assert (tmp_path / mode).read_bytes() == (tmp_path / "plain").read_bytes()


def test_a_supernet_of_float64_trains_in_float64(tmp_path: Path) -> None:
    trained = train(supernet("nasbench201", **SKELETON).double(), IMAGES, IMAGES, steps=1, path=tmp_path / "x", **QUIET)
    loaded = load_trained(tmp_path / "x")
    for one in (trained, loaded):
        assert {one.logits.dtype, *(weight.dtype for weight in one.supernet.parameters())} == {torch.float64}
    assert all(map(torch.equal, trained.supernet.parameters(), loaded.supernet.parameters()))
