"""NAS-Bench-1Shot1: the three sub-spaces' sizes, their cells among NAS-Bench-101's, the authors' seven vertices."""

from __future__ import annotations

import os
from collections import Counter
from itertools import combinations
from math import comb, prod
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from space_checks import assert_refused, check_traces

import cgir
from cgir.analysis.isomorphism import isomorphic
from frontends import spaces
from frontends.spaces.nasbench101.cell import CONV1X1, module_hash, prune

# of vertices 1, 2, ... and of the output (Zela et al. 2020, table 1)
PARENTS = {1: (1, 2, 2, 2, 2), 2: (1, 1, 2, 2, 3), 3: (1, 1, 1, 2, 2, 2)}
GOOD = "011001001100000110000010000001000000:0120"  # sub-space 1: parents 0; 0, 1; 1, 2; 2, 3; and 0, 4 of the output


@pytest.mark.parametrize(("subspace", "published"), [(1, 6_240), (2, 16_632), (3, 363_648)])
def test_sizes(subspace: int, published: int) -> None:
    space = spaces.get("nasbench1shot1", subspace=subspace)
    cells = set(space.enumerate())
    assert len(cells) == published == sum(1 for _ in space.enumerate())
    assert len({cell.matrix for cell in cells}) == prod(
        comb(vertex, count) for vertex, count in enumerate(PARENTS[subspace], 1)
    )


def test_published_size_of_sub_space_2_counts_the_operations_of_loose_ends() -> None:
    wirings = {cell.matrix for cell in spaces.get("nasbench1shot1", subspace=2).enumerate()}
    assert len(wirings) * 3**4 == 29_160


@pytest.mark.parametrize(("subspace", "distinct"), [(1, 2685), (2, 7773)])
def test_cells_are_cells_of_nasbench101(subspace: int, distinct: int) -> None:
    folder = os.environ.get("CGIR_DATA")
    if not folder:
        pytest.skip("needs the label tables: set CGIR_DATA")
    published = set(np.load(Path(folder) / "nasbench101_all_cells.npz")["hash_first8bytes"].tolist())
    cells = {prune(cell) for cell in spaces.get("nasbench1shot1", subspace=subspace).enumerate()}
    hashes = {module_hash(cell) for cell in cells}
    assert len(hashes) == distinct
    assert {int(key[:16], 16) for key in hashes} <= published


@pytest.mark.slow
def test_distinct_networks_of_sub_space_3() -> None:
    cells = {prune(cell) for cell in spaces.get("nasbench1shot1", subspace=3).enumerate()}
    assert len({module_hash(cell) for cell in cells}) == 55_854


@pytest.mark.parametrize("subspace", PARENTS)
def test_graphs_are_the_traced_networks_and_those_of_nasbench101(subspace: int) -> None:
    space = spaces.get("nasbench1shot1", subspace=subspace)
    check_traces(space, 6, seed=subspace)
    spec = space.sample(np.random.default_rng(9))
    assert isomorphic(space.graph(spec), spaces.get("nasbench101").graph(prune(spec)))


@pytest.mark.parametrize("subspace", PARENTS)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_cells_and_mutations_keep_the_numbers_of_parents(subspace: int, seed: int) -> None:
    space, rng = spaces.get("nasbench1shot1", subspace=subspace), np.random.default_rng(seed)
    spec = space.sample(rng)
    child = space.mutate(spec, rng)
    for cell in (spec, child):
        assert tuple(np.asarray(cell.matrix).sum(0)[1:]) == PARENTS[subspace]
        assert space.parse(space.format(cell)) == cell
        assert all(op == CONV1X1 for op, row in zip(cell.ops, cell.matrix[1:], strict=False) if not any(row))
    edges = int(np.abs(np.asarray(spec.matrix) - np.asarray(child.matrix)).sum())
    assert edges in (0, 2)
    if not edges:
        assert sum(a != b for a, b in zip(spec.ops, child.ops, strict=True)) == 1


def test_every_neighbour_can_be_reached() -> None:
    space, rng = spaces.get("nasbench1shot1", subspace=2), np.random.default_rng(0)
    spec = space.sample(rng)
    reached = {space.mutate(spec, rng) for _ in range(1500)}
    feeding = sum(any(row) for row in spec.matrix[1:-1])
    swaps = sum(count * (vertex - count) for vertex, count in enumerate(PARENTS[2], 1))
    assert len(reached) == 2 * feeding + swaps


def test_sampling_is_uniform() -> None:
    space, rng = spaces.get("nasbench1shot1", subspace=1), np.random.default_rng(1)
    drawn = Counter(space.sample(rng).matrix for _ in range(6240))
    expected = Counter(cell.matrix for cell in space.enumerate())
    statistic = sum((drawn[matrix] - count) ** 2 / count for matrix, count in expected.items())
    assert statistic < 179 + 5 * np.sqrt(2 * 179)  # chi-square of 180 wirings


def test_strings_of_seven_vertices_and_loose_ends() -> None:
    space = spaces.get("nasbench1shot1")
    spec = space.parse(GOOD)
    assert space.format(spec) == GOOD
    # the authors' form, with a vertex without edges before the output
    matrix = np.insert(np.insert(np.asarray(spec.matrix), 5, 0, axis=1), 5, 0, axis=0)
    assert space.parse("".join(map(str, matrix.ravel())) + ":01201") == spec
    # vertex 4 feeds nothing when the output reads 0 and 3 instead: its operation is no choice
    loose = "011001001100000110000011000000000000"
    assert {space.format(space.parse(f"{loose}:012{op}")) for op in (0, 1, 2)} == {f"{loose}:0121"}


def test_every_pair_of_parents_is_an_admitted_string() -> None:
    space = spaces.get("nasbench1shot1")
    for a, b in combinations(range(5), 2):
        matrix = np.asarray(space.parse(GOOD).matrix)
        matrix[:, 5] = [vertex in (a, b) for vertex in range(6)]
        assert space.parse("".join(map(str, matrix.ravel())) + ":1111").matrix[a][5] == 1


BAD = (
    (1, "0100", "':'"),
    (1, GOOD[:-1], "3 operations"),
    (1, GOOD.replace("2", "7"), "'7'"),
    (1, "010000000:1", "no path"),
    (1, "010001000:1", "3 vertices; sub-space 1 has 6"),
    (3, GOOD, "6 vertices; sub-space 3 has 7"),
    (2, GOOD, "vertex 2 of"),
    (2, GOOD, "has 2 parents; sub-space 2 expects 1"),
    (1, "011000001100000110000010000001000000:0120", "has 1 parents; sub-space 1 expects 2"),
    (1, "0100000001000000010000000100000001000000010000000:01200", "7 vertices; sub-space 1 has 6"),
)


@pytest.mark.parametrize(("subspace", "text", "complaint"), BAD)
def test_bad_strings_are_named(subspace: int, text: str, complaint: str) -> None:
    assert_refused(spaces.get("nasbench1shot1", subspace=subspace), text, complaint)


def test_there_are_three_sub_spaces() -> None:
    with pytest.raises(cgir.SpecError, match=r"subspace=4; expected one of 1, 2, 3"):
        spaces.get("nasbench1shot1", subspace=4)
