"""Synaptic flow against a network rewritten by hand, and against the theorem that it is conserved."""

from __future__ import annotations

import math

import pytest
import torch
import zero_cost_naive_gradients as naive
from torch import Tensor, nn
from torch.nn import functional as F
from zero_cost_naive_gradients import CELLS, IMAGE, LIVE_CELLS, AsModules, Functional, Transformer, batch

from frontends import spaces
from search.zero_cost import score

X, _ = batch()
NAMES = ["synflow"]


def synflow(module: nn.Module, x: Tensor | tuple[Tensor, ...] = X) -> float | None:
    return score(module, x, names=NAMES)["synflow"]


@pytest.mark.parametrize("cell", LIVE_CELLS)
def test_cells_score_as_the_equation_says(cell: str) -> None:
    torch.manual_seed(0)
    space = spaces.get("nasbench201", channels=4, cells=1, image=IMAGE)
    module = space.module(space.parse(CELLS[cell]))
    assert synflow(module) == pytest.approx(naive.synflow(module, torch.ones(1, *IMAGE)), rel=1e-9)


def test_flow_is_conserved() -> None:
    """Tanaka et al., theorem 1: each of three layers without bias passes on the same sum, that of the outputs."""
    layers = [nn.Linear(192, 5, bias=False), nn.Linear(5, 6, bias=False), nn.Linear(6, 4, bias=False)]
    flow = torch.ones(192, 1, dtype=torch.float64)
    for layer in layers:
        flow = layer.weight.detach().double().abs() @ flow
    module = nn.Sequential(nn.Flatten(), layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    assert synflow(module) == pytest.approx(math.log(3 * float(flow.sum())), rel=1e-9)


def test_deep_networks_have_a_finite_score() -> None:
    """Forty convolutions overflow float32 (3.4e38), not float64."""
    module = nn.Sequential(*(nn.Conv2d(64, 64, 3, padding=1, bias=False) for _ in range(40)))
    value = synflow(module, torch.randn(1, 64, 4, 4))
    assert value is not None
    assert value > math.log(3.4e38)


def test_without_a_path_there_is_no_score() -> None:
    space = spaces.get("nasbench201", channels=4, cells=1, image=IMAGE)
    assert synflow(space.module(space.parse(CELLS["no path"]))) is None


def test_batch_images_and_training_flags_do_not_matter() -> None:
    module = naive.cell_network("mixed")
    value = synflow(module)
    assert synflow(module.eval(), -3 * X[:2]) == value


@pytest.mark.parametrize(
    ("norm", "scales"),
    [
        (nn.BatchNorm2d(4), True), (nn.BatchNorm2d(4, track_running_stats=False), True),
        (nn.InstanceNorm2d(4, affine=True), True), (nn.InstanceNorm2d(4), False), (nn.GroupNorm(2, 4), True),
        (nn.LayerNorm((4, 8, 8)), True), (nn.RMSNorm((4, 8, 8)), True), (nn.BatchNorm2d(4, affine=False), False),
    ],
    ids=["batch", "batch, no running", "instance", "instance, plain", "group", "layer", "rms", "batch, plain"],
)  # fmt: skip
def test_normalisation_is_its_scale_and_shift(norm: nn.Module, scales: bool) -> None:
    """Shifts add to the output, not to what flows through weights."""
    for name, parameter in norm.named_parameters():
        nn.init.constant_(parameter, -2.0 if name == "weight" else 3.0)
    convolution = nn.Conv2d(3, 4, 1, bias=False)
    flow = float(convolution.weight.detach().double().abs().sum()) * 64
    scale = 2.0 if scales else 1.0
    value = synflow(nn.Sequential(convolution, norm))
    assert value == pytest.approx(math.log(scale * flow), rel=1e-6)


def test_functions_count_as_modules_do() -> None:
    functional = Functional()
    assert synflow(functional) == pytest.approx(synflow(AsModules(functional)), rel=1e-9)


def test_a_scale_given_to_batch_norm_weighs_the_branch() -> None:
    class Mixture(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 4, 1, bias=False)

        def forward(self, x: Tensor, weight: Tensor) -> Tensor:
            return F.batch_norm(self.layer(x), None, None, weight.expand(4), training=True)

    module = Mixture()
    half, whole = (synflow(module, (X, torch.tensor([value]))) for value in (0.5, 1.0))
    assert half is not None
    assert whole is not None
    assert whole - half == pytest.approx(math.log(2))


def test_integers_are_those_of_the_first_example() -> None:
    module = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 2, bias=False))
    tokens = torch.tensor([[1, 2, 3], [4, 5, 6]])
    magnitudes = module[0].weight.detach().double().abs()[tokens[0]].flatten()
    flow = float((module[2].weight.detach().double().abs() @ magnitudes).sum())
    assert synflow(module, tokens) == pytest.approx(math.log(2 * flow))


def test_transformers_have_a_score() -> None:
    assert synflow(Transformer()) is not None
