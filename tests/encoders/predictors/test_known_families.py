"""Labels of known families: which pools are near which tables, and what becomes a hint."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoders_samples import conv_share, random_cnns

from cgir.analysis.weisfeiler_lehman import graph_hashes
from cgir.errors import LabelError
from cgir.graph_batch import GraphBatch
from cgir.store import GraphStore
from encoders import Predictor, known_labels
from encoders.metrics import spearman
from encoders.predictors.known_families import KNOWN
from frontends import spaces, tables
from frontends.tables import Table

DIGITS = tables.load("digits")
ACCURACY = {name: f"digits/{name}: accuracy" for name in dict.fromkeys(DIGITS.families)}
needs_tables = pytest.mark.skipif(not os.environ.get("CGIR_DATA"), reason="needs the label tables: set CGIR_DATA")


def drawn(name: str, count: int = 100, **skeleton: Any) -> GraphBatch:
    """Networks of a space."""
    space, rng = spaces.get(name, **skeleton), np.random.default_rng(0)
    return space.graphs([space.sample(rng) for _ in range(count)])


@pytest.mark.parametrize("name", ACCURACY)
@pytest.mark.parametrize("skeleton", ["published", "one cell", "digits"])
def test_a_pool_of_a_space_gets_labels_of_its_space_in_its_own_skeleton(name: str, skeleton: str) -> None:
    if skeleton == "one cell" and name == "nasbench_macro":
        pytest.skip("it has no cells")
    options = {"published": {}, "one cell": {"cells": 1}, "digits": DIGITS.metadata["skeletons"][name]}[skeleton]
    found = known_labels(drawn(name, **options), ["digits"])
    assert list(found) == [ACCURACY[name]]
    graphs, values, weight = found[ACCURACY[name]]
    table = DIGITS.family(name)
    expected = spaces.get(name, **options).graphs(table.specs)
    labels: dict[str, set[float]] = {}
    for key, label in zip(graph_hashes(expected), table["accuracy"], strict=True):
        labels.setdefault(key, set()).add(label)
    assert len(graphs) == len(values) == len(table)
    assert all(value in labels[key] for key, value in zip(graph_hashes(graphs), values, strict=True))
    assert weight == KNOWN["digits"].weight


def test_hints_have_networks_that_the_pool_lacks() -> None:
    table = DIGITS.family("nasbench201")
    pool = table.graphs(range(30))
    graphs, *_ = known_labels(pool, ["digits"])[ACCURACY["nasbench201"]]
    assert len(set(graph_hashes(graphs)) - set(graph_hashes(pool))) > 100


@pytest.mark.parametrize("name", ["darts", "ofa_mbv3", "naap440", "transnas_macro", "gpt", "nasbench_graph"])
def test_a_pool_of_another_space_gets_none(name: str) -> None:
    assert known_labels(drawn(name, 50), ["digits"]) == {}


def test_other_widths_are_another_skeleton() -> None:
    assert known_labels(drawn("nasbench201", channels=256, image=(3, 224, 224)), ["digits"]) == {}


def test_without_tables_the_embedded_set_is_left_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("CGIR_DATA", raising=False)
    with caplog.at_level(logging.INFO):
        assert list(known_labels(drawn("nasbench_macro"))) == [ACCURACY["nasbench_macro"]]
    assert all(name in caplog.text for name in KNOWN)
    assert "CGIR_DATA" in caplog.text
    with pytest.raises(LabelError, match="CGIR_DATA"):
        known_labels(drawn("nasbench_macro"), ["darts"])


def test_a_pool_without_graphs_is_refused() -> None:
    with pytest.raises(LabelError, match="the pool has no graphs"):
        known_labels([])


def test_a_table_of_the_users_own() -> None:
    """Its losses are negated; rows without labels are left out, and of equal networks the best is taken."""
    space = spaces.get("nasbench201", cells=2)
    specs = list(dict.fromkeys(space.sample(np.random.default_rng(seed)) for seed in range(60)))
    texts, losses = tuple(map(space.format, specs)), np.linspace(1, 2, len(specs))
    losses[0] = np.nan
    mine = Table("mine", (*texts, *texts), {"loss": np.concatenate([losses, losses + 1])}, space)
    graphs, values, _ = known_labels(space.graphs(specs), [mine])["mine: loss"]
    assert sorted(values) == sorted(-losses[1:])
    assert sorted(graph_hashes(graphs)) == sorted(graph_hashes(space.graphs(specs[1:])))


def test_a_table_with_a_store_of_graphs(tmp_path: Path) -> None:
    graphs = random_cnns(60)
    names, labels = tuple(f"network {index}" for index in range(60)), conv_share(graphs)
    GraphStore.write(tmp_path / "store.parquet", graphs, family="mine", specs=names)
    store = GraphStore.open(tmp_path / "store.parquet")
    mine = Table("mine", names, {"share": labels}, graph_names=names, store=store)
    found, values, _ = known_labels(graphs[:30], [mine])["mine: share"]
    assert np.allclose(values, conv_share([found.graph(index) for index in range(60)]))
    assert known_labels(drawn("darts", 20), [mine]) == {}


def test_known_labels_rank_networks_without_labels() -> None:
    table = DIGITS.family("nasbench101")
    rows = np.random.default_rng(0).permutation(len(table))
    public, ranked = table.select(rows[:125]), table.select(rows[125:])
    pool = ranked.graphs()
    hints = known_labels(pool, [public])
    without, known = (Predictor().fit([], [], pool=pool, hints=given).predict(pool) for given in (None, hints))
    assert spearman(known, ranked["accuracy"]) > spearman(without, ranked["accuracy"]) + 0.1


@needs_tables
def test_columns_are_those_of_the_published_tables() -> None:
    for name, known in KNOWN.items():
        table = tables.load(name)
        assert set(known.metrics) <= set(table.metrics), name
        assert set(known.only) <= {*table.metrics, *table.text_columns}, name


@needs_tables
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "skeleton", "near"),
    [
        ("nasbench201", {"cells": 1}, {"nasbench201"}),
        ("nasbench1shot1", {}, {"nasbench101"}),
        ("darts", {}, {"darts"}),
        ("transnas_micro", {}, {"transnas_micro"}),
        ("proxylessnas", {}, set()),
        ("nasnet", {}, set()),
    ],
)
def test_nearness_to_published_tables(name: str, skeleton: dict[str, int], near: set[str]) -> None:
    found = known_labels(drawn(name, 60, **skeleton))
    assert {key.partition(":")[0] for key in found} == near
    assert len({id(graphs) for graphs, *_ in found.values()}) == len(near)  # smoothed together
