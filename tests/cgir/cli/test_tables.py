"""`cgir tables graphs`: a data set with labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import cgir
from cgir.cli.main import main
from frontends import tables


def test_a_table_becomes_a_data_set_with_labels(tmp_path: Path) -> None:
    assert main(["tables", "graphs", "digits", "-o", str(tmp_path / "digits")]) == 0
    store, table = cgir.GraphStore.open(tmp_path / "digits"), tables.load("digits")
    assert store.families == list(table.families)
    assert store.specs == list(table.spec_strings)
    assert set(store.labels) == set(table.metrics)
    assert np.array_equal(store.labels["accuracy"], table["accuracy"], equal_nan=True)
    place = 300
    space = table.family(table.families[place]).space
    assert space is not None
    assert cgir.isomorphic(store[place], space.graph(table.specs[place]))
