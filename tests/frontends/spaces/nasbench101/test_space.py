"""NAS-Bench-101: strings, all unique cells, published parameter counts and hashes."""

from __future__ import annotations

import os
from math import prod
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from space_checks import assert_refused, check_traces, rows

import cgir
from cgir.analysis.isomorphism import isomorphic
from frontends import spaces
from frontends.spaces.nasbench101.cell import Cell, module_hash, prune, vertex_channels
from frontends.spaces.nasbench101.enumeration import unique_cells

BAD = (
    ("0100", "':'"),
    ("01000:", "5 digits"),
    ("0" * 64 + ":000000", "64 digits"),
    ("0100:1", "1 operations"),
    ("01000100x:1", "digit 8"),
    ("010001000:3", "'3'"),
    ("010101000:1", "1 -> 0"),
    ("010000000:1", "no path"),
    ("0111111001111100111110001110000110000010000000:11111"[:52], "digits"),
)


@pytest.mark.parametrize(("text", "complaint"), BAD)
def test_bad_strings_are_named(text: str, complaint: str) -> None:
    assert_refused(spaces.get("nasbench101"), text, complaint)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_mutated_cells_are_pruned_and_not_isomorphic(seed: int) -> None:
    space, rng = spaces.get("nasbench101"), np.random.default_rng(seed)
    spec = space.sample(rng)
    child = space.mutate(spec, rng)
    assert prune(child) == child
    assert module_hash(child) != module_hash(spec)


def test_too_many_edges_are_refused_only_after_pruning() -> None:
    space = spaces.get("nasbench101")
    full = [[int(i < j) for j in range(5)] for i in range(5)]
    with pytest.raises(cgir.SpecError, match="10 edges"):
        space.parse("".join(str(edge) for row in full for edge in row) + ":000")
    full[3][4] = 0  # vertex 3 no longer leads to the output: it goes, with the 3 edges into it
    assert prune(space.parse("".join(str(edge) for row in full for edge in row) + ":000")).num_edges == 6


@pytest.mark.parametrize(("vertices", "count"), [(3, 7), (4, 91), (5, 2532)])
def test_unique_cells_have_the_published_counts(vertices: int, count: int) -> None:
    cells = list(spaces.get("nasbench101").enumerate(vertices))
    assert len(cells) == count
    assert len({module_hash(cell) for cell in cells}) == count
    assert all(prune(cell) == cell for cell in cells)


def test_large_cells_have_the_published_counts_and_are_drawn_uniformly() -> None:
    assert len(unique_cells(6)) == 64_542
    cells = unique_cells(7)
    assert len(cells) == 423_624
    places = np.random.default_rng(0).integers(len(cells), size=300)
    assert all(prune(cells[int(i)]) == cells[int(i)] for i in places)
    with pytest.raises(IndexError):
        cells[423_624]
    rng = np.random.default_rng(1)
    share = 64_542 / 423_624
    few = sum(len(spaces.get("nasbench101").sample(rng).matrix) < 7 for _ in range(3000)) / 3000
    assert abs(few - share) < 4 * np.sqrt(share * (1 - share) / 3000)


def test_unique_cells_are_those_of_the_retrained_table() -> None:
    published = {row["module_hash"] for row in rows("nasbench101_ecnas.csv.gz")}
    assert {module_hash(cell) for cell in spaces.get("nasbench101").enumerate(5)} == published


def test_every_published_parameter_count_of_nasbench101() -> None:
    space, published = spaces.get("nasbench101"), list(rows("nasbench101.csv.gz"))
    batch = space.graphs(space.parse(f"{row['adjacency_rowmajor']}:{row['interior_ops']}") for row in published)
    params = np.asarray([sum(map(prod, kind.param_shapes)) for kind in batch.kinds])
    found = np.add.reduceat(params[batch.kind], batch.ptr[:-1]).tolist()
    assert len(found) == 20_001
    assert found == [int(row["trainable_parameters"]) for row in published]


def test_module_hash_is_the_official_one() -> None:
    space = spaces.get("nasbench101")
    for row, _ in zip(rows("nasbench101.csv.gz"), range(2000), strict=False):
        assert module_hash(space.parse(f"{row['adjacency_rowmajor']}:{row['interior_ops']}")) == row["module_hash"]


def test_graphs_are_the_traced_networks() -> None:
    check_traces(spaces.get("nasbench101"), 15, seed=1)


def test_dead_vertices_change_nothing() -> None:
    space = spaces.get("nasbench101", channels=8, cells=2)
    dead = space.parse("0110000001000000000100000:012")  # input -> 1 -> output; 2 leads nowhere, nothing leads to 3
    assert space.format(prune(dead)) == "010001000:0"
    assert isomorphic(space.graph(dead), space.graph(prune(dead)))
    assert sum(p.numel() for p in space.module(dead).parameters()) == space.graph(dead).num_params


def test_channels_of_vertices() -> None:
    # three vertices feed the output, one of them also vertex 2; 128 = 43 + 43 + 42
    cell = Cell(((0, 1, 1, 1, 0), (0, 0, 1, 0, 1), (0, 0, 0, 0, 1), (0, 0, 0, 0, 1), (0,) * 5), (0, 0, 0))
    assert vertex_channels(cell, 64, 128) == [64, 43, 43, 42, 128]
    # vertex 1 only feeds the others and takes the larger of their channels
    cell = Cell(((0, 1, 0, 0, 0), (0, 0, 1, 1, 0), (0, 0, 0, 0, 1), (0, 0, 0, 0, 1), (0,) * 5), (0, 0, 0))
    assert vertex_channels(cell, 64, 9) == [64, 5, 5, 4, 9]


@pytest.mark.slow
def test_all_cells_are_the_published_423624() -> None:
    folder = os.environ.get("CGIR_DATA")
    if not folder:
        pytest.skip("needs the label tables: set CGIR_DATA")
    with np.load(Path(folder) / "nasbench101_all_cells.npz") as published:
        expected = {f"{key:016x}" for key in published["hash_first8bytes"].tolist()}
    found = [module_hash(cell)[:16] for cell in spaces.get("nasbench101").enumerate()]
    assert len(found) == 423_624
    assert set(found) == expected
