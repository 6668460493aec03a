"""The tables of the universal encoder: families as they are said to be, and no label of a family before those that are
counted.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from encoders_samples import random_cnns

from cgir import GraphBatch
from cgir.analysis.weisfeiler_lehman import graph_hashes
from encoders import Predictor
from encoders.features.graph_features import GraphFeatures, compute_features
from examples.papers import universal, universal_constants
from examples.papers.universal_constants import OURS, SETTINGS
from examples.papers.universal_families import FAMILIES, METRICS, Family, family
from examples.papers.universal_methods import Method
from examples.papers.universal_table import tables as shown
from frontends import spaces, tables


@pytest.mark.parametrize("name", ["darts", "transnas_micro", "nasbench_macro"])
def test_families_have_each_graph_once_with_a_label_that_was_measured(name: str) -> None:
    if not os.environ.get("CGIR_DATA"):
        pytest.skip("needs the label tables: set CGIR_DATA")
    found, table = family(name), tables.load(name)
    hashes = graph_hashes(found.graphs)
    assert len(set(hashes)) == len(hashes) == len(found.graphs)
    measured: dict[str, set[tuple[float, ...]]] = {}
    columns = [table[metric] for metric in METRICS[name].values()]
    for row, graph in enumerate(graph_hashes(spaces.get(name, **FAMILIES[name].skeleton).graphs(table.specs))):
        measured.setdefault(graph, set()).add(tuple(float(values[row]) for values in columns))
    given = zip(*(found.labels[task].tolist() for task in METRICS[name]), strict=True)
    assert all(labels in measured[graph] for graph, labels in zip(hashes, given, strict=True))


class Spy:
    """A model that notes what it is asked, in order."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def fit(self, graphs: GraphFeatures, y: np.ndarray, seed: int, pool: GraphFeatures) -> Spy:
        """Nothing is learned."""
        self.calls.append(f"fit {len(y)}")
        assert len(graphs) == len(y) < len(pool)
        return self

    def predict(self, graphs: GraphFeatures) -> np.ndarray:
        """Scores (G,)."""
        self.calls.append(f"predict {len(graphs)}")
        return np.arange(len(graphs), dtype=np.float64)


def test_no_target_is_ranked_without_labels_by_a_model_that_has_seen_another_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graphs = GraphBatch.from_graphs(random_cnns(60))
    labels = np.random.default_rng(0).normal(size=60)
    some = Family("some", graphs, {"accuracy": labels}, {"all": np.arange(60), "half": np.arange(30)})
    spy = Spy()
    monkeypatch.setattr(
        universal,
        "problems",
        lambda name: ((t, some, rows, (5, 20), compute_features(graphs, None)) for t, rows in some.targets.items()),
    )
    monkeypatch.setitem(universal.METHODS, "spy", Method(lambda left_out, seed, folder: spy, True))
    rows = list(universal.scores("some", "spy", 0, Path()))
    assert spy.calls[:2] == ["predict 60", "predict 30"]
    # twenty labels are more than half of thirty networks, and are not drawn
    counts = [(size, labels) for size, few in ((60, (5, 20)), (30, (5,))) for _ in range(2) for labels in few]
    fits = [[f"fit {labels}", f"predict {size - labels}"] for size, labels in counts]
    assert spy.calls[2:] == [call for fit in fits for call in fit]
    assert [row["labels"] for row in rows] == [0, 0, *(labels for _, labels in counts)]
    assert {row["seed"] for row in rows} == {0, 5}
    order = np.random.default_rng(universal.FIRST_DRAW).permutation(60)
    assert rows[2]["spearman"] == pytest.approx(universal.spearman(np.arange(55.0), labels[order[5:]]))


def test_tables_mark_who_is_ahead() -> None:
    base = {"target": "t", "labels": 10, "kendall": 0.5, "inside": 0.7}
    rows = [{**base, "method": "cgir", "seed": s, "spearman": 0.5 + s / 100} for s in range(3)]
    rows += [{**base, "method": "log FLOPs", "seed": s, "spearman": 0.9 + s / 100} for s in range(3)]
    summary, spearman, *_, inside = shown(rows)
    assert summary.rows == (("t", "", "", "", "", "0.510", "0.910 log FLOPs", "", ""),)
    assert dict(spearman.rows)["log FLOPs"] == "**0.910 ± 0.010**"
    assert dict(spearman.rows)["cgir"] == "0.510 ± 0.010"
    assert inside.rows == (("t", "0.70 ± 0.00"),)


def test_settings_are_chosen_by_all_other_targets() -> None:
    rng = np.random.default_rng(0)
    found = {target: {setting: float(rng.uniform()) for setting in SETTINGS} for target in "abc"}
    grid, single = universal_constants.tables(found)
    assert grid.columns[2] == "x 1"
    assert {row[2] for row in grid.rows} == {f"{np.mean([found[t][OURS] for t in 'abc']):.3f}"}
    assert grid.rows[0][3] == f"{np.mean([found[t][(2, *OURS[1:])] for t in 'abc']):.3f}"
    for target, ours, best, chosen in single.rows:
        one, other = (found[t] for t in "abc" if t != target)
        setting = max(SETTINGS, key=lambda s: one[s] + other[s])
        assert (ours, best, chosen) == tuple(
            f"{v:.3f}" for v in (found[target][OURS], max(found[target].values()), found[target][setting])
        )


@pytest.mark.parametrize("seed", [0, 1])
def test_weights_that_are_ours_are_those_of_the_predictor(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs, labels = GraphBatch.from_graphs(random_cnns(60)), np.random.default_rng(0).normal(size=60)
    teachers = [(graphs.select(np.arange(start, start + 10)), labels[start : start + 10]) for start in (0, 10, 20)]
    some = Family("some", graphs, {"accuracy": labels}, {"all": np.arange(60), "half": np.arange(30, 60)})
    monkeypatch.setattr(universal_constants, "family", lambda name: some)
    monkeypatch.setattr(universal_constants, "features_of", lambda name: compute_features(graphs, None))
    predictor = Predictor().fit_sources(teachers, seed=seed)
    monkeypatch.setattr(universal_constants, "universal", lambda *_: predictor)
    found = list(universal_constants.scores_and_weights("some", seed, Path()))
    assert [target for target, *_ in found] == list(some.targets)
    for target, known, scores, weights in found:
        rows = some.targets[target]
        np.testing.assert_array_equal(known, labels[rows])
        np.testing.assert_allclose(scores @ weights, predictor.predict(graphs.select(rows)))
