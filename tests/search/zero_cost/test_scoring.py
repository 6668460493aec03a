"""Scores by name: what is asked for, what is left untouched, and what bad input is told."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import pytest
import torch
import zero_cost_naive_gradients as naive
from space_checks import small
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout
from torch.utils.checkpoint import checkpoint
from zero_cost_naive_gradients import CLASSES, Functional, Perceptron, Transformer, batch

from cgir.errors import CgirError
from search.zero_cost import NAMES, score

X, Y = batch()
# all proxies of this file's concern: those that are defined on any network
GENERAL = ("params", "flops", "grad_norm", "snip", "grasp", "fisher", "synflow", "jacob_cov")


def general(module: nn.Module, **options: Any) -> dict[str, float | None]:
    return score(module, X, Y, names=GENERAL, **options)


class Random(nn.Module):
    """Draws random numbers of all kinds in its pass, and keeps what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = naive.cell_network("mixed")

    def forward(self, x: Tensor) -> Tensor:
        x = dropout(x, 0.5, training=self.training) * random.random() * np.random.rand()
        self.seen = self.inner(x)
        return self.seen


@pytest.mark.parametrize(
    "make",
    [lambda: naive.cell_network("dead ends"), Functional, Perceptron, Transformer, Random],
    ids=["cell", "functional", "perceptron", "transformer", "random"],
)
def test_scores_are_the_same_twice_and_whatever_is_asked_beside(make: Any) -> None:
    module = make()
    together = general(module)
    assert all(value is not None for value in together.values())
    assert general(module) == together
    assert {name: score(module, X, Y, names=[name])[name] for name in GENERAL} == together
    backwards = score(module, X, Y, names=GENERAL[::-1])
    assert list(backwards) == list(GENERAL[::-1])
    assert backwards == together


@pytest.mark.parametrize(
    ("space", "image"),
    [("nasbench101", 32), ("nasbench201", 32), ("darts", 32), ("nasbench_macro", 32), ("mnasnet", 32)],
    ids=lambda value: str(value),
)
def test_networks_of_every_space_have_scores(space: str, image: int) -> None:
    found = small(space)
    torch.manual_seed(0)
    module = found.module(found.sample(np.random.default_rng(2)))
    x, y = batch(4, (3, image, image))
    assert all(value is not None for value in score(module, x, y, names=GENERAL).values())


def test_resnet18_has_scores() -> None:
    from frontends.torch.torchvision_ops import declare

    declare()
    torchvision = pytest.importorskip("torchvision")
    x, y = batch(4, (3, 32, 32))
    found = score(torchvision.models.resnet18(num_classes=CLASSES), x, y, names=GENERAL)
    assert all(value is not None for value in found.values())
    assert found["params"] == 11_181_642


def test_language_models_have_scores() -> None:
    """Inputs of integers have no Jacobian; every other proxy is defined."""
    module = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, CLASSES))
    tokens = torch.randint(0, 9, (6, 3), generator=torch.Generator().manual_seed(0))
    names = [name for name in GENERAL if name != "jacob_cov"]
    found = score(module, tokens, Y, names=names)
    assert found["params"] == 36 + 120 + CLASSES
    assert all(found[name] is not None for name in names if name != "flops")


def everything(module: nn.Module) -> tuple[Any, ...]:
    """What a caller could see of a module, tensors as copies."""
    return (
        {name: (value.clone(), value._version) for name, value in module.state_dict(keep_vars=True).items()},
        [(p.requires_grad, None if p.grad is None else p.grad.clone()) for p in module.parameters()],
        [inner.training for inner in module.modules()],
        [list(getattr(inner, "_forward_hooks")) for inner in module.modules()],  # noqa: B009
    )


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def test_the_module_and_the_batch_are_left_as_they_are() -> None:
    module = Random()
    module.inner.stem.eval()
    module.inner.classifier.weight.requires_grad_(False)
    module.inner.last[0].bias.grad = torch.ones(16)
    called: list[str] = []
    module.register_forward_pre_hook(lambda *_: called.append("before"))
    module.inner.stem[0].register_forward_hook(lambda *_: called.append("after"))
    module.inner.last.register_full_backward_hook(lambda *_: called.append("backward"))
    module.inner.stem[0].weight.register_hook(lambda g: called.append("gradient"))
    x, y, before = X.clone().requires_grad_(), Y.clone(), everything(module)
    score(module, x, y, names=GENERAL)
    assert called == []
    assert same(everything(module), before)
    assert torch.equal(x, X)
    assert x.grad is None
    assert torch.equal(y, Y)


def test_random_states_and_settings_are_left_as_they_are() -> None:
    def states() -> tuple[Any, ...]:
        legacy = np.random.get_state()
        return (
            torch.get_rng_state(), random.getstate(), legacy[1].tolist(), legacy[2], torch.is_grad_enabled(),
            torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled(), torch.is_autocast_enabled("cpu"),
            torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.math_sdp_enabled(), torch.get_num_threads(),
        )  # fmt: skip

    for module in (Random(), Transformer()):
        before = states()
        general(module)
        assert same(states(), before)
        with pytest.raises(CgirError):
            score(module, X[:, :2], Y, names=GENERAL)
        assert same(states(), before)


def test_settings_of_the_caller_do_not_matter() -> None:
    module = Random()
    expected = general(module)
    with torch.no_grad():
        assert general(module) == expected
    with torch.inference_mode():
        assert general(copy.deepcopy(module)) == expected
        assert score(module, X.clone(), Y.clone(), names=GENERAL) == expected
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert general(module) == expected
    torch.manual_seed(5)
    assert general(module.eval().requires_grad_(False)) == expected
    torch.set_default_dtype(torch.float64)
    try:
        assert general(module) == expected
    finally:
        torch.set_default_dtype(torch.float32)
    assert general(module, seed=1) != expected


def test_a_module_with_its_last_output_in_it_can_be_copied() -> None:
    module = Random()
    expected = general(module)
    module(X)
    assert not module.seen.is_leaf
    assert general(module) == expected


def test_half_precision_is_scored_in_float32() -> None:
    module = Perceptron().half()
    as_float = copy.deepcopy(module).float()
    assert score(module, X.half(), Y, names=GENERAL) == score(as_float, X.half().float(), Y, names=GENERAL)
    assert next(module.parameters()).dtype == torch.float16


def test_memory_formats_score_nearly_alike() -> None:
    module = naive.cell_network("convolutions")
    expected = general(module)
    found = score(
        module.to(memory_format=torch.channels_last), X.to(memory_format=torch.channels_last), Y, names=GENERAL
    )
    assert found == pytest.approx(expected, rel=1e-3)


def test_hooks_by_which_weights_are_computed_stay() -> None:
    """Pruned weights are products of a weight and its mask, made by a hook before each pass."""
    from torch.nn.utils import prune

    module = Perceptron()
    prune.random_unstructured(module[2], "weight", 0.5)
    module[2].weight_mask.zero_()
    assert score(module, X, names=["synflow"])["synflow"] is not None  # what the bias passes on
    assert score(module, X, names=["jacob_cov"]) == {"jacob_cov": None}


def test_a_compiled_module_is_scored_as_itself() -> None:
    module = Perceptron()
    assert general(torch.compile(module, backend="eager")) == general(module)


def test_weights_used_twice_count_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = self.second = nn.Linear(12, 12)
            self.head = nn.Linear(12, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.head(torch.tanh(self.second(torch.tanh(self.first(x)))))
            return logits

    module, x = Tied(), torch.randn(6, 12, generator=torch.Generator().manual_seed(0))
    found = score(module, x, Y, names=["params", "grad_norm"])
    cross_entropy(module(x), Y).backward()
    assert found["params"] == 12 * 13 + 13 * CLASSES
    weights = (module.first.weight, module.head.weight)
    assert found["grad_norm"] == pytest.approx(
        sum(float(w.grad.norm()) for w in weights if w.grad is not None), rel=1e-5
    )


def test_checkpoints_change_nothing_but_are_refused_by_synflow() -> None:
    """It computes normalisation otherwise, and a checkpoint computes it once more in the backward pass, as it is."""

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = naive.DeadEnd()

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = checkpoint(self.inner, x, use_reentrant=False)
            return logits

    names = ["params", "grad_norm", "snip", "grasp", "jacob_cov"]
    module = Checkpointed()
    expected = score(module.inner, X, Y, names=names)
    assert score(module, X, Y, names=names) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(CgirError, match=r"synflow of Checkpointed failed .*; leave synflow out"):
        score(module, X, names=["synflow"])


def test_other_losses_and_outputs() -> None:
    class Pair(Perceptron):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
            logits = super().forward(x)
            return logits, logits

    names = ["grad_norm", "snip", "grasp", "fisher"]
    expected = score(Perceptron(), X, Y, names=names)
    pairs = score(
        Pair(), X, Y, names=names, loss=lambda out, y: (cross_entropy(out[0], y) + cross_entropy(out[1], y)) / 2
    )
    assert pairs == pytest.approx(expected, rel=1e-5)
    probabilities = nn.functional.one_hot(Y, CLASSES).float()
    assert score(Perceptron(), X, probabilities, names=names) == pytest.approx(expected, rel=1e-5)
    for name, message in (("snip", "the output is a tuple; cross-entropy"), ("synflow", "Pair returns a tuple; wrap")):
        with pytest.raises(CgirError, match=message):
            score(Pair(), X, Y, names=[name])


class Lock:
    def __deepcopy__(self, memo: dict[int, Any]) -> Lock:
        raise TypeError("a lock cannot be copied")


class Spectral(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 8, 5, dtype=torch.complex64))

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(x) * self.weight)


def locked() -> nn.Module:
    module = Perceptron()
    module.lock = Lock()
    return module


def at_one_position() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, CLASSES))


BAD: dict[str, tuple[Any, str]] = {
    "targets, none": (lambda: snip(X, None), "targets=None, and a proxy that reads a loss was asked for"),
    "targets, few": (lambda: snip(X, Y[:2]), "2 targets for 6 inputs; give one for each"),
    "targets, no axis": (lambda: snip(X, Y[0]), "no axis of targets for 6 inputs"),
    "targets, large": (lambda: snip(X, Y + 5), r"targets from \d to 1\d, and the network has 10 classes"),
    "targets, negative": (lambda: snip(X, Y - 5), r"targets from -\d to \d, and the network has 10 classes"),
    "targets, shape": (lambda: snip(X, Y[:, None]), r"shape \(6, 1\) for outputs of \(6, 10\); expected \(6,\)"),
    "targets, list": (lambda: snip(X, Y.tolist()), "targets are a list; cross-entropy expects a tensor"),
    "loss of examples": (lambda: snip(X, Y, loss=lambda a, b: a), r"the loss is \(6, 10\); expected a scalar"),
    "loss fails": (lambda: snip(X, Y, loss=lambda a, b: 1 / 0), r"the loss failed \(ZeroDivisionError"),
    "inputs, shape": (lambda: snip(X[..., :3], Y), r"Perceptron refuses inputs of shape \(6, 3, 8, 3\) \(RuntimeError"),
    "inputs, empty": (lambda: snip(X[:0], Y[:0]), "inputs have no example"),
    "inputs, two": (lambda: snip((X, X), Y), r"shape \(6, 3, 8, 8\), \(6, 3, 8, 8\) \(TypeError"),
    "inputs, array": (lambda: snip(X.numpy(), Y), "inputs hold a ndarray; give a tensor"),
    "name": (lambda: score(Perceptron(), X, names=["nasnot"]), "no proxy 'nasnot'; there are params, flops, grad_norm"),
    "function": (lambda: synflow(len), "the network is a builtin_function_or_method; give a torch.nn.Module"),
    "lock": (lambda: synflow(locked()), r"Perceptron cannot be copied \(TypeError: a lock cannot be copied\)"),
    "lazy": (lambda: synflow(nn.LazyLinear(3)), "LazyLinear has lazy parameters .* call it once first"),
    "meta": (lambda: synflow(nn.Linear(8, 3, device="meta")), r"Linear cannot be copied \(NotImplementedError"),
    "one image": (lambda: score(at_one_position(), X[:1], names=["params"]), "Expected more than 1 value per channel"),
    "complex": (
        lambda: synflow(Spectral()),
        r"synflow of Spectral failed \(RuntimeError: .*complex.*; leave synflow out",
    ),
    "device": (lambda: synflow(Perceptron(), device="tpu"), "device='tpu'"),
    "device, meta": (lambda: synflow(Perceptron(), device="meta"), "device='meta' .*expected auto, cpu"),
    "device, none": (lambda: synflow(Perceptron(), device=None), "device='None' .*expected auto, cpu"),
    "seed, negative": (lambda: synflow(Perceptron(), seed=-1), "seed=-1; expected a whole number from 0 to"),
    "seed, large": (lambda: synflow(Perceptron(), seed=2**32), "seed=4294967296; expected a whole number"),
    "seed, text": (lambda: synflow(Perceptron(), seed="1"), "seed='1'; expected a whole number"),
    "names": (
        lambda: score(Perceptron(), X, names=None),  # type: ignore[arg-type]
        "names are a NoneType; give a list",
    ),
}


def snip(x: Any, y: Any, **options: Any) -> None:
    score(Perceptron(), x, y, names=["snip"], **options)


def synflow(module: Any, **options: Any) -> None:
    score(module, X, names=["synflow"], **options)


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case: str) -> None:
    call, message = BAD[case]
    with pytest.raises(CgirError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_nearly_the_same() -> None:
    for module in (naive.cell_network("mixed"), Functional(), Perceptron(), Transformer()):
        on_cpu, on_gpu = general(module.eval(), device="cpu"), general(module, device="cuda")
        if not isinstance(module, Transformer):  # dropout draws other numbers there
            assert on_gpu == pytest.approx(on_cpu, rel=1e-2)
        assert general(copy.deepcopy(module).cuda(), device="auto") == pytest.approx(on_gpu, rel=1e-3)


def test_names_are_those_of_the_table() -> None:
    assert set(GENERAL) <= set(NAMES)
    assert score(Perceptron(), X, names=[]) == {}
    assert list(score(Perceptron(), X, names="params")) == ["params"]
