"""`select`, and the rules that look at no image."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from one_shot_samples import digits, tiny, trained_like
from scipy.stats import chisquare
from torch import Tensor

from cgir.errors import CgirError
from search.one_shot import RULES, Trained, select, supernet


def test_argmax_is_the_largest_weight_of_every_edge() -> None:
    trained = trained_like(tiny())
    found = select(trained, digits(), device="cpu")
    weights = trained.mixture.view(6, 5).double().numpy()
    expected = tuple(found.choices[0].options[int(row.argmax())] for row in weights)
    assert found.spec == expected
    assert found.spec_string == found.space.format(expected)
    for scores, row in zip(found.scores, weights, strict=True):
        np.testing.assert_array_equal(scores, row)


def test_argmax_without_none_is_the_largest_of_the_others() -> None:
    trained = trained_like(tiny())
    found = select(trained, digits(), exclude="none", device="cpu")
    expected = tuple((int(row[1:].argmax()) + 1,) for row in trained.mixture.view(6, 5))
    assert found.picks == expected
    assert found.options["exclude"] == ("none",)


def test_random_is_uniform_and_seeded() -> None:
    trained, images = trained_like(tiny()), digits(16)
    rankings = [RULES["random"](trained, images, seed=seed, exclude=(), progress=False) for seed in range(150)]
    assert select(trained, images, "random", seed=7, device="cpu").picks == rankings[7].picks
    for edge in range(6):
        counts = Counter(one.picks[edge][0] for one in rankings)
        assert chisquare([counts[option] for option in range(5)]).pvalue > 1e-3


def test_table_has_every_option_and_marks_the_chosen() -> None:
    found = select(trained_like(tiny()), digits(), device="cpu")
    first, *lines = found.table().splitlines()
    assert first == f"argmax: {found.spec_string}"
    assert len(lines) == 6
    for line, choice, scores, picks in zip(lines, found.choices, found.scores, found.picks, strict=True):
        assert line.startswith(choice.name)
        assert line.count("*") == 1
        for option, (name, score) in enumerate(zip(choice.options, scores, strict=True)):
            assert f"{name} {score:.4g}{'*' if option in picks else ''}" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rule": "arg"}, "no rule is called 'arg'; there are argmax"),
        ({"rule": "argmax", "batch": 4}, "argmax has no option 'batch'; its options are none"),
        ({"rule": "argmax", "progres": 4}, "argmax has no option 'progres'"),
        ({"exclude": ["zero"]}, "exclude='zero' is no option of nasbench201; it has none, skip_connect"),
        (
            {"exclude": ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]},
            "edge 1<-0: 1 of none, .* must be chosen; .* leaves 0",
        ),
        ({"device": "gpu"}, "device='gpu'"),
        ({"seed": -1}, "seed=-1; expected a whole number from 0"),
        ({"seed": 0.5}, "seed=0.5; expected a whole number from 0"),
    ],
    ids=["rule", "option", "misspelt", "exclude", "all-excluded", "device", "seed", "half-seed"],
)
def test_what_does_not_exist_is_named_in_one_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(CgirError, match=message) as error:
        select(trained_like(tiny()), digits(), **{"device": "cpu"} | arguments)
    assert "\n" not in str(error.value)


def test_images_that_do_not_fit_are_refused() -> None:
    other = supernet("nasbench201", channels=4, cells=1, image=(3, 8, 8))
    with pytest.raises(CgirError, match=r"images \(1, 8, 8\), the supernet reads \(3, 8, 8\)"):
        select(trained_like(other), digits(), device="cpu")


def state(trained: Trained) -> list[Any]:
    """Everything of a supernet and of the process that a rule must leave alone."""
    network = trained.supernet
    return [
        {name: tensor.clone() for name, tensor in network.state_dict().items()},
        [(p.requires_grad, p.grad if p.grad is None else p.grad.clone()) for p in network.parameters()],
        [module.training for module in network.modules()],
        [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in network.modules()],
        [trained.logits.clone(), trained.logits.requires_grad, trained.logits.grad],
        torch.get_rng_state(),
        random.getstate(),
        str(np.random.get_state()),
        torch.get_default_dtype(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_grad_enabled(),
    ]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


QUICK: dict[str, dict[str, Any]] = {"zero_cost": {"proxy": "grad_norm"}}


@pytest.mark.parametrize("rule", list(RULES))
def test_a_rule_leaves_everything_as_it_is_and_depends_on_the_seed_alone(rule: str) -> None:
    trained, images = trained_like(tiny()), digits(64)
    network = trained.supernet.eval()
    weights = list(network.parameters())
    weights[0].requires_grad_(False)
    weights[1].grad = torch.ones_like(weights[1])
    before = state(trained)
    with torch.no_grad():  # rules that need gradients turn them on for themselves
        found = select(trained, images, rule, device="cpu", progress=False, **QUICK.get(rule, {}))
    assert same(before, state(trained))
    torch.rand(3), np.random.rand(), random.random()
    again = select(trained, images, rule, device="cpu", progress=False, **QUICK.get(rule, {}))
    assert found.picks == again.picks
    assert same([s.tolist() for s in found.scores], [s.tolist() for s in again.scores])
    assert found.space is network.space
    found.space.parse(found.spec_string)
