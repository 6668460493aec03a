"""Private draws: the numbers of the global generators after the same seed, and these are left alone."""

from __future__ import annotations

import pickle
import random
import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import frontends
from encoders.training.seeding import seeded
from frontends.torch.private_draws import DRAWING, private_draws

X = torch.linspace(-1, 1, 240).reshape(6, 5, 8)
HALVES = torch.full((5,), 0.5)
DRAWS: dict[str, Callable[[], Tensor]] = {
    "rand": lambda: torch.rand(3),
    "randn": lambda: torch.randn(40, dtype=torch.float64),
    "randint": lambda: torch.randint(2, 10, (4,)),
    "randint to": lambda: torch.randint(10, (4,)),
    "randperm": lambda: torch.randperm(9),
    "rand_like": lambda: torch.rand_like(X),
    "randn_like": lambda: torch.randn_like(X, dtype=torch.float64),
    "bernoulli": lambda: torch.bernoulli(HALVES),
    "bernoulli_": lambda: torch.zeros(5).bernoulli_(0.5),
    "multinomial": lambda: torch.multinomial(HALVES, 3),
    "normal": lambda: torch.normal(HALVES, HALVES),
    "normal of numbers": lambda: torch.normal(0.0, 1.0, (3,)),
    "normal_": lambda: torch.empty(20).normal_(),
    "random_": lambda: torch.empty(4).random_(),
    "exponential_": lambda: torch.empty(4).exponential_(),
    "dropout": lambda: F.dropout(X, 0.3),
    "dropout in place": lambda: F.dropout(torch.ones(20), 0.4, inplace=True),
    "dropout1d": lambda: F.dropout1d(X, 0.3),
    "feature_alpha_dropout": lambda: F.feature_alpha_dropout(X, 0.3),
    "rrelu": lambda: F.rrelu(X, training=True),
    "gumbel_softmax": lambda: F.gumbel_softmax(X),
    "attention": lambda: F.scaled_dot_product_attention(X, X, X, dropout_p=0.4),
    "weights": lambda: nn.Conv2d(3, 4, 3).weight.detach(),
    "embedding": lambda: nn.Embedding(5, 4).weight.detach(),
    "LSTM": lambda: nn.LSTM(8, 4, 2, dropout=0.5)(X)[0].detach(),
    "trunc_normal_": lambda: nn.init.trunc_normal_(torch.empty(30)),
    "orthogonal_": lambda: nn.init.orthogonal_(torch.empty(5, 5)),
    "Gamma": lambda: torch.distributions.Gamma(1.0, 1.0).sample((3,)),
    "Categorical": lambda: torch.distributions.Categorical(HALVES).sample((5,)),
    "manual_seed": lambda: (torch.manual_seed(3), torch.rand(2))[1],
    "NumPy": lambda: torch.tensor([*np.random.rand(3), np.random.sample(), *np.random.permutation(4)]),
    "Python": lambda: torch.tensor(
        [random.random(), random.gauss(0, 1), random.choice([1, 2, 3]), random.randint(0, 9)]
    ),
}


def _states() -> list[object]:
    return [torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()]


def _seed_all(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


@pytest.mark.parametrize("name", DRAWS)
def test_numbers_are_those_of_the_global_generators_which_stay(name: str) -> None:
    _seed_all(5)
    expected = DRAWS[name]()
    _seed_all(9)
    before = _states()
    with private_draws(5):
        found = DRAWS[name]()
    assert torch.equal(found, expected)
    assert _states() == before


def test_the_innermost_generator_draws() -> None:
    with private_draws(1):
        first = torch.rand(2)
        with private_draws(5):
            inner = torch.rand(2), np.random.rand()
        second = torch.rand(2)
    _seed_all(5)
    assert torch.equal(inner[0], torch.rand(2))
    assert inner[1] == np.random.rand()
    torch.manual_seed(1)
    assert torch.equal(torch.stack([first, second]), torch.rand(2, 2))


def test_dropout_has_the_same_gradient() -> None:
    weights = [torch.ones(50, requires_grad=True) for _ in range(2)]
    with seeded(3):
        F.dropout(weights[0] * 2, 0.4).sum().backward()
    with seeded(3):
        (weights[1] * 2 * F.dropout(torch.ones(50), 0.4)).sum().backward()
    assert weights[0].grad is not None
    assert weights[1].grad is not None
    assert torch.equal(weights[0].grad, weights[1].grad)
    assert 0 < (weights[0].grad == 0).sum() < 50


def test_the_table_has_all_operators_that_pytorch_knows_to_draw() -> None:
    """Those of GPUs, and the backward ones of attention, draw from other generators or not at all."""
    found = set()
    names = {schema.name for schema in torch._C._jit_get_all_schemas()}
    for name in sorted(name.removeprefix("aten::") for name in names if name.startswith("aten::")):
        packet = getattr(torch.ops.aten, name)
        for overload in getattr(packet, "overloads", list)():
            if torch.Tag.nondeterministic_seeded in getattr(packet, overload).tags:
                found.add(name.rstrip("_"))
    others = ("cudnn", "miopen", "flash", "efficient", "mem_eff", "triton", "fused", "mps", "nested", "backward",
              "functional", "attention_math")  # fmt: skip
    assert {name for name in found if not any(part in name for part in others)} <= DRAWING


class _Random(nn.Module):
    """Takes one of two ways by chance, and draws in every way."""

    def forward(self, x: Tensor) -> Tensor:
        torch.manual_seed(int(np.random.randint(100)))
        x = x.relu() if torch.rand(1) + random.random() < 1 else x.tanh()
        return F.dropout(x) * F.dropout(torch.ones(4)) + torch.randn(4) + torch.rand_like(x)


def test_a_trace_leaves_the_generators_and_follows_their_seed() -> None:
    ways = set()
    for seed in range(8):
        _seed_all(seed)
        before = _states()
        graphs = [frontends.trace(_Random(), input_shape=(2, 4)) for _ in range(2)]
        assert _states() == before
        assert graphs[0] == graphs[1]
        ways.add(tuple(node.op for node in graphs[0].nodes))
    assert len(ways) == 2


def test_other_threads_draw_what_their_seed_says() -> None:
    _seed_all(2)
    expected = [(float(torch.rand(1)), np.random.rand(), random.random()) for _ in range(50)]
    _seed_all(2)
    found: list[tuple[float, float, float]] = []
    start, go_on = threading.Barrier(2), threading.Barrier(2)

    def draw() -> None:
        for _ in range(50):
            start.wait(10)
            found.append((float(torch.rand(1)), np.random.rand(), random.random()))
            go_on.wait(10)

    thread = threading.Thread(target=draw)
    thread.start()
    for index in range(50):  # the other thread draws between two draws of this one
        with private_draws(7) if index % 2 else seeded(7):
            torch.rand(1), F.dropout(X)
            start.wait(10)
            go_on.wait(10)
            torch.rand(1)
    thread.join()
    assert found == expected


@pytest.mark.parametrize(
    "function",
    ["random.shuffle", "random.random", "numpy.random.rand", "torch.manual_seed", "torch.random.get_rng_state"],
)
def test_functions_of_global_generators_can_be_pickled_meanwhile(function: str) -> None:
    module, _, name = function.rpartition(".")
    with private_draws(0):
        data = pickle.dumps(getattr(sys.modules[module], name))
    assert pickle.loads(data) == getattr(sys.modules[module], name)
