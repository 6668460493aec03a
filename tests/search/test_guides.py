"""How predictors guide a search: what is computed for them, and what they know before the first answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from search_samples import SPACE, planted, quiet

import search
from encoders import Encoder, EncoderConfig, Predictor
from frontends.spaces.edge_cell import EDGES

SPECS = [SPACE.sample(np.random.default_rng(seed)) for seed in range(60)]
GRAPHS = SPACE.graphs(SPECS)
LABELS = np.asarray([planted(spec) for spec in SPECS])


def blend(sign: int = 1) -> Predictor:
    """Taught by two families, whose labels follow the planted ones or their opposite."""
    halves = (np.arange(30), np.arange(30, 60))
    predictor = Predictor(Encoder(EncoderConfig(width=8, layers=1)))
    return predictor.fit_sources([(GRAPHS.select(half), sign * LABELS[half]) for half in halves])


def first_answers(predictor: Predictor, worth: Callable[[tuple[str, ...]], float] = planted) -> float:
    """Mean worth of the networks that are asked before any answer is known."""
    history = search.evolve(SPACE, predictor, worth, queries=10, batch=10, **quiet)
    return float(np.mean([worth(spec) for spec in history.specs]))


def pools(spec: tuple[str, ...]) -> float:
    """What nobody expects to be good: edges that average, those that come later first."""
    return sum(1.0 + source for op, (_, source) in zip(spec, EDGES, strict=True) if op == "avg_pool_3x3")


def test_embeddings_are_computed_only_where_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **options: Any) -> None:
        raise AssertionError("embedded")

    monkeypatch.setattr(Encoder, "embed", refuse)
    assert len(search.evolve(SPACE, blend(), planted, queries=16, **quiet)) == 16
    with pytest.raises(AssertionError, match="embedded"):
        search.evolve(SPACE, Predictor(Encoder(EncoderConfig(width=8, layers=1)), head="gp"), planted, 16, **quiet)


def test_source_families_are_followed_before_the_first_answers() -> None:
    right, wrong = first_answers(blend()), first_answers(blend(-1))
    assert right > LABELS.mean() + LABELS.std()
    assert wrong < right - LABELS.std()


def test_hints_are_followed_before_the_first_answers() -> None:
    """A pool of the space is no reason to forget them."""
    labels, halves = np.random.default_rng(0).normal(size=60), (np.arange(30), np.arange(30, 60))
    hinted = np.asarray([pools(spec) for spec in SPECS])
    predictor = Predictor().fit_sources([(GRAPHS.select(half), labels[half]) for half in halves])
    alone = first_answers(predictor, pools)
    told = predictor.fit([], [], pool=GRAPHS, hints={"planted": (GRAPHS, hinted, 1.0)})
    assert alone < hinted.mean()  # sizes and operations speak for convolutions, whatever the families taught
    assert first_answers(told, pools) > hinted.mean() + hinted.std()
