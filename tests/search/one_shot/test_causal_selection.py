"""`causal` against its equations written out, and what follows from them."""

from __future__ import annotations

import random
from collections import Counter
from itertools import permutations
from math import sqrt
from typing import Any

import numpy as np
import pytest
import torch
from one_shot_samples import digits, tiny, trained_like
from scipy.stats import chisquare, kstest, norm, uniform
from torch import Tensor

from cgir.errors import CgirError
from search.one_shot import Statistics, Supernet, causal, one_shot_statistics, untrained
from search.one_shot.causal_selection import _initialised
from search.one_shot.causal_statistics import Gaussian
from search.one_shot.choices import Choice

QUIET: dict[str, Any] = {"device": "cpu", "progress": False}
OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EQUAL = torch.full((30,), 0.2)
SAME = Statistics(dict.fromkeys(OPS, Gaussian(0.5, 0.1)), Gaussian(0.5, 0.1))
OWN = Statistics({op: Gaussian(0.3 + 0.1 * k, 0.01) for k, op in enumerate(OPS)}, Gaussian(0.5, 0.1))


@pytest.fixture(scope="module")
def network() -> Supernet:
    return tiny()


def accuracy(network: Supernet, mixture: Tensor, pixels: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return float((network(pixels, mixture).argmax(1) == labels).double().mean())


def only(edge: int, ops: set[int]) -> Tensor:
    """The uniform mixture with certain operations alone on an edge."""
    table = EQUAL.view(6, 5).clone()
    table[edge, [op for op in range(5) if op not in ops]] = 0
    return table.flatten()


def test_without_intervention_it_is_the_observed_accuracy(network: Supernet) -> None:
    found = causal(network, digits(64), p=0, repeats=2, seed=4, **QUIET)
    # all images are one batch in any order, so that both repeats observe the same
    expected = [
        [accuracy(network, only(edge, {op}), digits(64).pixels, digits(64).labels) for op in range(5)]
        for edge in range(6)
    ]
    np.testing.assert_allclose(np.stack(found.scores), expected, atol=1 / 64 + 1e-9)  # of rounding in BatchNorm's sums
    for scores, picks in zip(found.scores, found.picks, strict=True):
        assert scores[picks[0]] == scores.max()
    assert found.options["p"] == 0
    assert found.rule == "causal"


def test_certain_intervention_draws_from_the_priors_and_observes_nothing(
    network: Supernet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(network), "forward", None)
    rows = [
        np.stack(causal(network, digits(64), statistics=OWN, repeats=1, seed=seed, **QUIET).scores)
        for seed in range(40)
    ]
    draws = np.stack(rows)  # (seeds, edges, operations)
    for op, name in enumerate(OPS):
        gaussian = OWN.options[name]
        assert kstest(draws[:, :, op].ravel(), norm(*gaussian).cdf).pvalue > 1e-3
    mean = causal(network, digits(64), statistics=OWN, repeats=200, **QUIET)
    np.testing.assert_allclose(np.stack(mean.scores).mean(0), [g.mean for g in OWN.options.values()], atol=0.002)
    assert mean.spec == ("avg_pool_3x3",) * 6


@pytest.mark.parametrize("game", [False, True], ids=["neurons", "game"])
def test_one_gaussian_for_all_is_random_selection(
    network: Supernet, game: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.one_shot.causal_selection.evaluate", _chance)
    counts: Counter[int] = Counter()
    for seed in range(40):
        found = causal(network, digits(8), prior="global", statistics=OWN, game=game, repeats=1, seed=seed, **QUIET)
        counts.update(picks[0] for picks in found.picks)
    assert chisquare([counts[op] for op in range(5)]).pvalue > 1e-3


class _Chance:
    accuracy = 0.1


def _chance(*_: Any) -> _Chance:
    """Of the supernet without any operation, which the game observes even then; the same for all."""
    return _Chance()


def test_each_accuracy_is_replaced_with_probability_p(network: Supernet) -> None:
    observed = np.stack(causal(network, digits(16), p=0, repeats=1, **QUIET).scores)
    shares = []
    for seed in range(6):
        # all 16 images are one batch, in another order for each seed, so observed accuracies move by rounding only
        found = np.stack(causal(network, digits(16), p=0.3, statistics=FAR, repeats=1, seed=seed, **QUIET).scores)
        shares.append(found > 2)
        np.testing.assert_allclose(np.where(found > 2, observed, found), observed, atol=1 / 16 + 1e-9)
    assert abs(np.mean(shares) - 0.3) < 3 * sqrt(0.3 * 0.7 / 180)


FAR = Statistics(dict.fromkeys(OPS, Gaussian(5.0, 0.1)), Gaussian(5.0, 0.1))


def test_game_is_the_shapley_value_of_observed_accuracies(network: Supernet) -> None:
    pixels, labels = digits(16).pixels, digits(16).labels
    rows = torch.randperm(
        16, generator=torch.Generator().manual_seed(int(np.random.default_rng((7, 0)).integers(2**62)))
    )
    found = causal(network, digits(16), p=0, game=True, repeats=1, seed=7, **QUIET)
    for edge, scores in enumerate(found.scores):
        value = {
            subset: accuracy(
                network, only(edge, {op for op in range(5) if subset >> op & 1}), pixels[rows], labels[rows]
            )
            for subset in range(32)
        }
        totals = np.zeros(5)
        for order in permutations(range(5)):
            subset = 0
            for op in order:
                totals[op] += value[subset | 1 << op] - value[subset]
                subset |= 1 << op
        np.testing.assert_allclose(scores, totals / 120, atol=1e-9)
        np.testing.assert_allclose(scores.sum(), value[31] - value[0], atol=1e-9)


def test_intervened_game_values_options_by_their_priors(network: Supernet) -> None:
    found = causal(network, digits(32), statistics=OWN, game=True, repeats=20, **QUIET)
    assert found.spec == ("avg_pool_3x3",) * 6
    for scores in found.scores:
        assert np.all(np.diff(scores) > 0)


def test_ties_are_broken_at_random_and_by_the_seed(network: Supernet) -> None:
    images = digits(16)
    # constant weights make all channels equal, so that no image is told from another by any option
    found = [causal(network, images, p=0, weights="constant", repeats=1, seed=seed, **QUIET) for seed in range(3)]
    assert all(np.ptp(scores) == 0 for one in found for scores in one.scores)
    assert len({one.spec for one in found}) == 3
    assert found[0].spec == causal(network, images, p=0, weights="constant", repeats=1, seed=0, **QUIET).spec


def test_statistics_are_of_every_batch_and_choice_that_has_the_option() -> None:
    trained = trained_like(tiny())
    found = one_shot_statistics(trained, digits(64), count=60, batch=30, seed=2, **QUIET)
    rows = torch.randperm(64, generator=torch.Generator().manual_seed(2))[:60].view(2, 30)
    table, everything = trained.mixture.view(6, 5), []
    for op, name in enumerate(OPS):
        samples = []
        for edge in range(6):
            alone = table.clone()
            alone[edge] = 0
            alone[edge, op] = table[edge, op]
            samples += [
                accuracy(trained.supernet, alone.flatten(), digits(64).pixels[part], digits(64).labels[part])
                for part in rows
            ]
        np.testing.assert_allclose(found.options[name], (np.mean(samples), np.std(samples, ddof=1)), atol=1e-12)
        everything += samples
    np.testing.assert_allclose(found.overall, (np.mean(everything), np.std(everything, ddof=1)), atol=1e-12)


def test_without_statistics_the_prior_is_the_supernet_itself(network: Supernet) -> None:
    images = digits(16)
    own = one_shot_statistics(untrained(network), images, count=16, batch=8, seed=3, **QUIET)
    a = causal(network, images, count=16, batch=8, seed=3, repeats=1, **QUIET)
    b = causal(network, images, count=16, batch=8, seed=3, repeats=1, statistics=own, **QUIET)
    np.testing.assert_array_equal(np.stack(a.scores), np.stack(b.scores))


@pytest.mark.parametrize("weights", ["gaussian", "uniform", "constant"])
def test_new_weights_have_the_distribution_of_their_name(network: Supernet, weights: str) -> None:
    made = _initialised(network, weights, np.random.default_rng(0))
    pooled = []
    for module in made.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            pooled.append(module.weight.detach().flatten().double() * sqrt(module.weight[0].numel() / 2))
            assert module.bias is None or not module.bias.any()
    values = torch.cat(pooled).numpy()
    if weights == "constant":
        np.testing.assert_allclose(values, 1, rtol=1e-6)
    else:
        reference = norm if weights == "gaussian" else uniform(-sqrt(3), 2 * sqrt(3))  # both of deviation 1
        assert kstest(values, reference.cdf).pvalue > 1e-3


def test_noise_replaces_the_pixels(network: Supernet, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    forward = type(network).forward

    def watched(self: Supernet, x: Tensor, mixture: Tensor) -> Tensor:
        seen.append(x)
        return forward(self, x, mixture)

    monkeypatch.setattr(type(network), "forward", watched)
    causal(network, digits(64), p=0, inputs="gaussian", repeats=1, **QUIET)
    assert all(x is seen[0] for x in seen)
    assert kstest(seen[0].flatten().numpy(), norm.cdf).pvalue > 1e-3


def test_parents_of_vertices_are_selected_too() -> None:
    network = tiny("nasbench1shot1", subspace=1, stacks=1)
    with pytest.raises(
        CgirError, match="one accuracy of 'vertex 4' has no deviation; lower batch=256, that the 16 images"
    ):
        causal(network, digits(16), p=0.5, repeats=1, **QUIET)
    found = causal(network, digits(16), p=0.5, batch=8, repeats=1, **QUIET)
    choices: tuple[Choice, ...] = network.choices
    assert [len(picks) for picks in found.picks] == [choice.num_chosen for choice in choices]
    assert found.space.format(found.space.parse(found.spec_string)) == found.spec_string


def test_leaves_supernet_and_generators_as_they_are_and_depends_on_the_seed() -> None:
    network = tiny().eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    states = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
    options: dict[str, Any] = {"p": 0.5, "weights": "uniform", "inputs": "gaussian", "repeats": 1}
    first = causal(network, digits(16), **options, **QUIET)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in network.parameters())
    assert not any(module.training for module in network.modules())
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1:] == (random.getstate(), str(np.random.get_state()))
    torch.rand(1)
    again = causal(network, digits(16), **options, **QUIET)
    np.testing.assert_array_equal(np.stack(first.scores), np.stack(again.scores))
    assert first.picks == again.picks
    other = causal(network, digits(16), **options, seed=1, **QUIET)
    assert not np.array_equal(np.stack(first.scores), np.stack(other.scores))


def test_excluded_options_are_scored_but_not_chosen(network: Supernet) -> None:
    found = causal(network, digits(16), statistics=OWN, exclude=("avg_pool_3x3",), **QUIET)
    assert found.spec == ("nor_conv_3x3",) * 6
    assert len(found.scores[0]) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"p": 1.5}, "p=1.5; expected a probability"),
        ({"p": float("nan")}, "p=nan; expected a finite number"),
        ({"prior": "ops"}, "prior='ops'; expected one of 'operation', 'global'"),
        ({"inputs": "noise"}, "inputs='noise'; expected one of 'real', 'gaussian'"),
        ({"weights": "ones"}, "weights='ones'; expected one of None, 'gaussian', 'uniform', 'constant'"),
        ({"repeats": 0}, "repeats=0; expected a positive whole number"),
        ({"statistics": {"none": (0.1, 0.1)}}, "statistics are a dict; one_shot_statistics makes them"),
        ({"exclude": ("zero",)}, "exclude='zero' is no option"),
        (
            {"statistics": Statistics({"conv1x1": Gaussian(0, 1)}, Gaussian(0, 1))},
            "statistics of conv1x1, none of 'none'; make them from a supernet of nasbench201",
        ),
    ],
    ids=["p", "p-nan", "prior", "inputs", "weights", "repeats", "no-statistics", "exclude", "statistics"],
)
def test_wrong_arguments_are_named_in_one_line(network: Supernet, options: dict[str, Any], message: str) -> None:
    with pytest.raises(CgirError, match=message) as error:
        causal(network, digits(16), **options, **QUIET)
    assert "\n" not in str(error.value)
