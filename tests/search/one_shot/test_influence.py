"""Rules by influence functions are the paper's formulae, written with dense matrices."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy, deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from one_shot_derivative_samples import digits, double_trained, lemma_2
from torch import Tensor, nn
from torch.func import grad, jacrev
from torch.nn.functional import cross_entropy

from cgir.errors import CgirError
from search.one_shot import Images, Supernet, Trained
from search.one_shot.choices import Choice, Picks
from search.one_shot.deciding import decision_order
from search.one_shot.derivatives import Loss, Point, batch_loss, loss_and_gradient, supernet_point
from search.one_shot.influence import influence, influential_magnitude
from search.one_shot.inverse_hessian import METHODS
from search.one_shot.ranking import Ranking, draw_batches

SETTINGS = {"batches": 3, "batch": 16, "eta": 0.1}
RULES: dict[str, Callable[..., Ranking]] = {"influence": influence, "influential_magnitude": influential_magnitude}
Rules = pytest.mark.parametrize("rule", list(RULES))


@pytest.fixture(scope="module")
def trained() -> Trained:
    return double_trained()


@pytest.fixture(scope="module")
def images() -> Images:
    return digits(100, seed=1)


def run(rule: str, trained: Trained, images: Images, seed: int = 0, **options: Any) -> Ranking:
    exclude = options.pop("exclude", ())
    return RULES[rule](trained, images, seed=seed, exclude=exclude, progress=False, **{**SETTINGS, **options})


def with_one_choice(trained: Trained) -> Trained:
    """The same supernet, of which only one edge is to be decided."""
    network = copy(trained.supernet)
    network.choices = network.choices[:1]
    return replace(trained, supernet=network)


def losses_of(trained: Trained, images: Images) -> tuple[list[Loss], Point]:
    drawn = draw_batches(trained.supernet, images, count=48, batch=16, seed=0)
    losses = [batch_loss(trained.supernet, part) for part in drawn]
    return losses, supernet_point(trained.supernet, trained.mixture)


def naive_inverse_product(vector: Tensor, losses: list[Loss], point: Point, method: str) -> Tensor:
    """By the recursion over the gradients, or the identity."""
    if method == "identity":
        return vector
    gradients = torch.stack([loss_and_gradient(loss, point)[1] for loss in losses])
    return lemma_2(vector, gradients, 0.1)


@pytest.mark.parametrize("partial", [1, 2])
@pytest.mark.parametrize("method", ["identity", "sherman_morrison"])
def test_influential_magnitude_is_definition_1(images: Images, method: str, partial: int) -> None:
    """With the whole matrix of mixed derivatives (A, P)."""
    trained = double_trained(partial=partial)
    losses, point = losses_of(trained, images)
    mixed = sum(jacrev(grad(loss, 1), 0)(*point) for loss in losses) / len(losses)
    expected = -mixed @ naive_inverse_product(mixed.sum(0), losses, point, method)
    found = run("influential_magnitude", trained, images, inverse=method)
    choices = trained.supernet.choices
    for choice, scores, picks in zip(choices, *found, strict=True):
        own = expected[[entries[0] for entries in choice.entries]].numpy()
        np.testing.assert_allclose(scores, own, rtol=1e-8, atol=1e-10)
        assert picks == (int(np.argmax(own)),)  # signed: the highest


@pytest.mark.parametrize("method", ["identity", "sherman_morrison"])
def test_influence_is_equation_5(trained: Trained, images: Images, method: str) -> None:
    losses, point = losses_of(trained, images)
    found = run("influence", trained, images, inverse=method)
    mixture, choices = point.mixture, trained.supernet.choices

    def retrained_loss(mixture: Tensor) -> float:
        at = Point(point.theta, mixture)
        mean = torch.stack([loss_and_gradient(loss, at)[1] for loss in losses]).mean(0)
        present = torch.stack([loss(*at) for loss in losses]).mean()
        return float(present - mean @ naive_inverse_product(mean, losses, at, method) / 2)

    for index in decision_order(choices, seed=0):
        choice = choices[index]
        without = [retrained_loss(choice.without(mixture, option)) for option in range(len(choice.options))]
        scores = np.array(without) - retrained_loss(mixture)
        np.testing.assert_allclose(found.scores[index], scores, rtol=1e-8, atol=1e-10)
        assert found.picks[index] == (int(np.argmax(scores)),)
        mixture = choice.decided(mixture, found.picks[index])


PIXELS = {"none": 0, "row": 8, "half": 32, "image": 64}


class Regression(Supernet):
    """Softmax regression on a mixture of three parts of the image, so that the loss is convex in the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.groups = (4,)
        self.choices = (Choice("part", tuple(PIXELS), ((0,), (1,), (2,), (3,))),)
        self.weight = nn.Parameter(torch.zeros(64, 10, dtype=torch.float64))

    def forward(self, x: Tensor, mixture: Tensor) -> Tensor:
        seen = torch.stack([(torch.arange(64) < count).double() for count in PIXELS.values()])
        return x.flatten(1) * (mixture @ seen) @ self.weight

    def spec(self, picks: Picks) -> Picks:
        return picks

    def retrained(self, images: Images, mixture: Tensor) -> float:
        """The smallest loss at a mixture; the weights stay there."""
        optimizer = torch.optim.LBFGS(self.parameters(), max_iter=100, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = cross_entropy(self(images.pixels.double(), mixture), images.labels)
            loss = loss + 1e-3 * self.weight.square().sum() / 2
            loss.backward()
            return loss.detach()

        optimizer.step(closure)
        with torch.no_grad():
            return float(cross_entropy(self(images.pixels.double(), mixture), images.labels))


def test_sign_what_retraining_misses_most_has_the_highest_influence() -> None:
    images, network, logits = digits(300), Regression(), torch.zeros(4, dtype=torch.float64)
    mixture, choice = network.mix(logits), network.choices[0]
    present = network.retrained(images, mixture)
    truth = [deepcopy(network).retrained(images, choice.without(mixture, option)) - present for option in range(4)]
    trained = Trained(network, logits, [], {})
    options = {"batches": 1, "batch": 300, "eta": 1e-3, "iterations": 300, "inverse": "conjugate_gradients"}
    found = run("influence", trained, images, **options)
    assert np.argsort(found.scores[0]).tolist() == np.argsort(truth).tolist()
    assert found.picks == ((int(np.argmax(truth)),),)


def test_none_has_no_influential_magnitude(trained: Trained, images: Images) -> None:
    found = run("influential_magnitude", trained, images)
    assert all(scores[0] == 0 for scores in found.scores)


@Rules
def test_excluded_options_have_scores_but_are_not_chosen(trained: Trained, images: Images, rule: str) -> None:
    found = run(rule, trained, images, exclude=("none", "nor_conv_3x3"), batches=2)
    assert all(not {0, 3} & set(picks) for picks in found.picks)
    assert all(np.isfinite(scores).all() for scores in found.scores)


@Rules
@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_scores(trained: Trained, images: Images, rule: str, method: str) -> None:
    trained = with_one_choice(trained)
    options = {"inverse": method, "batches": 2, "batch": 8, "iterations": 2, "eta": 1000.0}
    first, second = (run(rule, trained, images, seed=3, **options) for _ in range(2))
    assert first.picks == second.picks
    assert all(np.array_equal(a, b) for a, b in zip(first.scores, second.scores, strict=True))


@Rules
def test_another_seed_draws_other_batches(trained: Trained, images: Images, rule: str) -> None:
    trained = with_one_choice(trained)
    first, second = (run(rule, trained, images, seed=seed, batches=1, inverse="identity") for seed in (0, 1))
    assert not all(np.array_equal(a, b) for a, b in zip(first.scores, second.scores, strict=True))


@Rules
@pytest.mark.parametrize("published", [False, True])
def test_supernet_and_random_state_stay(trained: Trained, images: Images, rule: str, published: bool) -> None:
    network = trained.supernet.eval()
    network.classifier.weight.requires_grad_(False)
    network.stem[0].weight.grad = marker = torch.ones_like(network.stem[0].weight)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    logits, state = trained.logits.clone(), torch.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()
    try:
        run(rule, with_one_choice(trained), images, batches=2, batch=8, published=published)
        assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
        assert torch.equal(logits, trained.logits)
        assert not trained.logits.requires_grad
        assert not network.training
        assert not network.classifier.weight.requires_grad
        assert network.stem[0].weight.grad is marker
        assert bool((marker == 1).all())
        assert all(weight.grad is None for weight in list(network.parameters())[1:])
        assert torch.equal(state, torch.get_rng_state())
        assert np.array_equal(numpy_state, np.random.get_state()[1])
    finally:
        network.train().requires_grad_(True)
        network.stem[0].weight.grad = None


@Rules
@pytest.mark.parametrize(
    "options",
    [{"inverse": "newton"}, {"eta": 0}, {"batch": 1, "batches": 1}],
    ids=["inverse", "eta", "batch"],
)
def test_options_are_checked_first(trained: Trained, images: Images, rule: str, options: dict[str, Any]) -> None:
    with pytest.raises(CgirError, match=r"newton|eta=0|batch=1;"):
        run(rule, trained, images, **options)
