"""Perturbation-based selection against algorithm 1 of Wang et al. 2021, written out."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from one_shot_samples import digits, tiny, trained_like
from torch import Tensor
from torch.nn.functional import cross_entropy

from cgir.errors import CgirError
from search import zero_cost
from search.one_shot import Supernet, Trained, select, train
from search.one_shot.network import MixedNetwork

EDGES = 6
OPS = 5


@pytest.fixture(scope="module")
def trained() -> Trained:
    """A supernet that has learned something, so that accuracies differ."""
    return train(tiny(), digits(128), digits(128), steps=30, lr=0.1, alpha_lr=0.1, device="cpu", progress=False)


def naive(
    network: Supernet,
    mixture: Tensor,
    measure: Callable[[Tensor], float],
    order: list[int],
    after: Callable[[Tensor], None] = lambda table: None,
) -> tuple[np.ndarray[Any, Any], list[int]]:
    """Of NAS-Bench-201, on a table of edges and operations: measure without each, keep the one missed most."""
    table = mixture.view(EDGES, OPS).clone()
    scores, kept = np.zeros((EDGES, OPS)), [0] * EDGES
    for edge in order:
        whole = measure(table.flatten())
        for op in range(OPS):
            removed = table.clone()
            removed[edge, op] = 0
            scores[edge, op] = whole - measure(removed.flatten())
        kept[edge] = int(scores[edge].argmax())
        table[edge] = torch.eye(OPS)[kept[edge]]
        after(table.flatten())
    return scores, kept


def whole_set(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """The images in the order in which the rule draws them; all are one batch."""
    images = digits(128)
    rows = torch.randperm(128, generator=torch.Generator().manual_seed(seed))[:count]
    return images.pixels[rows], images.labels[rows]


@pytest.mark.parametrize("criterion", ["accuracy", "loss"])
def test_equals_the_algorithm_written_out(trained: Trained, criterion: str) -> None:
    network, (pixels, labels) = trained.supernet, whole_set(100, 3)

    def measure(mixture: Tensor) -> float:
        with torch.no_grad():
            answers = network(pixels, mixture)
        if criterion == "accuracy":
            return sum(int(a.argmax()) == int(y) for a, y in zip(answers, labels, strict=True)) / 100
        return -float(cross_entropy(answers, labels))

    found = select(
        trained, digits(128), "perturbation", seed=3, criterion=criterion, count=100, device="cpu", progress=False
    )
    order = np.random.default_rng(3).permutation(EDGES).tolist()
    scores, kept = naive(network, trained.mixture, measure, order)
    np.testing.assert_allclose(np.stack(found.scores), scores, atol=1e-6)
    assert [picks[0] for picks in found.picks] == kept
    assert np.ptp(scores) > 0


def test_tuning_trains_a_copy_after_every_decision(trained: Trained) -> None:
    images, (pixels, labels) = digits(128), whole_set(128, 0)
    network, generator = deepcopy(trained.supernet), torch.Generator().manual_seed(0)
    sgd = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9, weight_decay=3e-4)

    def measure(mixture: Tensor) -> float:
        with torch.no_grad():
            return -float(cross_entropy(network(pixels, mixture), labels))

    def tune(mixture: Tensor) -> None:
        for _ in range(2):
            x, y = images.draw(64, generator)
            sgd.zero_grad()
            cross_entropy(network(x, mixture), y).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            sgd.step()

    options: dict[str, Any] = {"criterion": "loss", "train": images, "tune_steps": 2, "tune_lr": 0.01}
    before = deepcopy(trained.supernet.state_dict())
    found = select(trained, images, "perturbation", device="cpu", progress=False, **options)
    scores, kept = naive(network, trained.mixture, measure, np.random.default_rng(0).permutation(EDGES).tolist(), tune)
    np.testing.assert_allclose(np.stack(found.scores), scores, atol=1e-5)
    assert [picks[0] for picks in found.picks] == kept
    assert all(torch.equal(before[name], tensor) for name, tensor in trained.supernet.state_dict().items())
    assert found.options["train"] == "digits"  # by name: a result carries no images


def test_inputs_of_nodes_are_decided_after_operations_and_several_are_kept() -> None:
    network = tiny("nasbench1shot1", subspace=1, stacks=1)
    trained, (pixels, labels) = trained_like(network), whole_set(64, 1)

    def measure(mixture: Tensor) -> float:
        with torch.no_grad():
            return -float(cross_entropy(network(pixels, mixture), labels))

    rng, choices = np.random.default_rng(1), network.choices
    operations = [n for n, choice in enumerate(choices) if choice.name.startswith("operation")]
    parents = [n for n, choice in enumerate(choices) if choice.name.startswith("parents")]
    mixture, picks = trained.mixture.clone(), {}
    for number in [*rng.permutation(operations), *rng.permutation(parents)]:
        choice, values = choices[number], []
        for (entry,) in choice.entries:
            removed = mixture.clone()
            removed[entry] = 0
            values.append(measure(removed))
        picks[number] = tuple(sorted(np.argsort(values)[: choice.num_chosen].tolist()))
        for option, (entry,) in enumerate(choice.entries):
            mixture[entry] = float(option in picks[number])
    found = select(
        trained, digits(128), "perturbation", seed=1, criterion="loss", count=64, device="cpu", progress=False
    )
    assert parents
    assert found.picks == tuple(picks[number] for number in range(len(choices)))


@pytest.mark.parametrize("proxy", ["grad_norm", "synflow"])
def test_zero_cost_equals_the_algorithm_written_out(proxy: str) -> None:
    trained, (pixels, labels) = trained_like(tiny()), whole_set(32, 0)

    def measure(mixture: Tensor) -> float:
        network = MixedNetwork(trained.supernet, mixture)
        value = zero_cost.score(network, pixels, labels, names=[proxy], device="cpu")[proxy]
        assert value is not None
        return value

    images = digits(128)
    found = select(trained, images, "zero_cost", proxy=proxy, batch=32, exclude=["none"], device="cpu", progress=False)
    scores, _ = naive(trained.supernet, trained.mixture, measure, [np.random.default_rng(0).permutation(EDGES)[0]])
    first = int(np.random.default_rng(0).permutation(EDGES)[0])
    np.testing.assert_allclose(found.scores[first], scores[first], rtol=1e-9)
    assert found.picks[first] == (int(scores[first][1:].argmax()) + 1,)
    assert "none" not in found.spec


@pytest.mark.parametrize(
    ("rule", "options", "message"),
    [
        ("perturbation", {"criterion": "acc"}, "criterion='acc'; expected accuracy or loss"),
        ("perturbation", {"tune_steps": 5}, "tune_steps=5 with train=None; tuning needs both"),
        ("perturbation", {"train": digits()}, "tune_steps=0 with train=digits; tuning needs both"),
        ("perturbation", {"train": "digits"}, "the images are a str; give one_shot.Images"),
        ("perturbation", {"train": digits(), "tune_steps": 30, "tune_lr": 1e30}, "the loss of the tuning is .*; lower"),
        ("perturbation", {"batch": 1}, "batch=1; expected 2 images or more"),
        ("zero_cost", {"proxy": "nasw"}, "no proxy 'nasw'; there are"),
        ("zero_cost", {"batch": 1}, "batch=1; expected 2 images or more"),
    ],
    ids=["criterion", "no-train", "no-steps", "no-images", "diverges", "batch", "proxy", "proxy-batch"],
)
def test_wrong_options_are_named_in_one_line(rule: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(CgirError, match=message) as error:
        select(trained_like(tiny()), digits(), rule, device="cpu", progress=False, **options)
    assert "\n" not in str(error.value)


def test_a_proxy_that_is_undefined_stops_the_rule() -> None:
    trained = trained_like(tiny())
    others = ["skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]
    with pytest.raises(CgirError, match="synflow of the supernet is undefined at a decision"):
        select(trained, digits(), "zero_cost", proxy="synflow", exclude=others, device="cpu", progress=False)
