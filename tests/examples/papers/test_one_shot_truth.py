"""The supernet whose operations are worth something known, and the numbers made of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from examples.papers import one_shot_truth
from examples.papers.one_shot_truth import OPERATIONS, SIZE, OneCell, converge, leave_one_out, mean_loss, scores
from examples.papers.one_shot_truth_table import OPERATIONS as NAMES
from examples.papers.one_shot_truth_table import SHOWN, tables, within_edges
from search.one_shot import RULES, Images, Trained, load_images


@pytest.fixture(scope="module")
def images() -> tuple[Images, Images]:
    return load_images("digits", SIZE).select(torch.arange(40)).split()


@pytest.fixture(scope="module")
def trained() -> Trained:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Trained(OneCell().double(), torch.zeros(24, dtype=torch.float64), [], {})


def test_training_converges(trained: Trained, images: tuple[Images, Images]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = OneCell().double()
    before = mean_loss(network, images[0], trained.mixture).item()
    first = converge(network, images[0], trained.mixture, 3)
    assert converge(network, images[0], trained.mixture, 60) < first / 3
    assert mean_loss(network, images[0], trained.mixture).item() < before


def test_scores_in_turn_are_of_the_supernet_with_all_others(trained: Trained, images: tuple[Images, Images]) -> None:
    found = scores(trained, images[1], "perturbation", 0, {"criterion": "loss"})
    network, mixture = trained.supernet, trained.mixture
    present = mean_loss(network, images[1], mixture)
    expected = [
        [float((mean_loss(network, images[1], choice.without(mixture, o)) - present).detach()) for o in range(4)]
        for choice in network.choices
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_leaving_out_what_has_no_weight_costs_nothing(
    images: tuple[Images, Images], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_shot_truth, "ITERATIONS", 30)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = OneCell().double()
    logits = torch.zeros(6, 4, dtype=torch.float64)
    logits[:, 3] = -50
    trained = Trained(network, logits.flatten(), [], {})
    converge(network, images[0], trained.mixture, 250)
    network.choices = network.choices[:1]
    truth, norms = leave_one_out(trained, *images)
    assert truth.shape == (1, 4)
    assert len(norms) == 4
    assert abs(truth[0, 3]) < np.abs(truth[0, :3]).max() / 10


def test_names_are_those_of_rules_and_operations() -> None:
    assert tuple(OPERATIONS) == NAMES
    assert {rule for rule, _ in SHOWN.values()} == set(RULES)


def test_tables() -> None:
    truth = np.arange(24.0).reshape(6, 4)
    rule: dict[str, Any] = {"scores": (-truth).tolist(), "eta": None, "seconds": 1.0}
    row = {
        "seed": 0,
        "accuracy": 0.5,
        "gradient_norms": [1e-4],
        "mixture": [0.25] * 24,
        "truth": truth.tolist(),
        "truth_seconds": 9.0,
        "rules": dict.fromkeys(SHOWN, rule),
    }
    agreement, operations = tables([row, row])
    assert agreement.rows[0] == ("argmax", "-1.000 ± 0.000", "-1.000 ± 0.000", "0.000 ± 0.000", "1.0")
    assert operations.rows[0] == ("skip_connect", "10.000 ± 0.000", "0.250 ± 0.000")
    assert within_edges(truth, truth) == 1
