"""Search spaces: strings, counts, published parameter counts, and the promise that a space's graph is the traced network."""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cgir
import frontends
from cgir.coloring import graph_hashes, isomorphic
from frontends import spaces
from frontends.spaces.nasbench101 import Cell, module_hash, prune, vertex_channels
from frontends.spaces.nasbench101_cells import unique_cells

NAMES = tuple(spaces.SPACES)
BEST_201 = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
SMALL = {"nasbench101": {"channels": 8, "cells": 2}, "nasbench201": {"channels": 4, "cells": 2}, "nasbench_macro": {"channels": 4, "head": 16}}


def rows(name: str) -> Iterator[dict[str, str]]:
    folder = os.environ.get("CGIR_DATA")
    if not folder:
        pytest.skip("needs the label tables: set CGIR_DATA")
    with gzip.open(Path(folder) / name, "rt") as file:
        yield from csv.DictReader(file)


def small(name: str) -> spaces.Space:
    return spaces.get(name, **SMALL[name])


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_strings_read_back_and_mutations_stay_in_the_space(name: str, seed: int) -> None:
    space, rng = spaces.get(name), np.random.default_rng(seed)
    spec = space.sample(rng)
    assert space.parse(space.format(spec)) == spec
    assert space.sample(np.random.default_rng(seed)) == spec
    child = space.mutate(spec, rng)
    assert child != spec
    assert space.parse(space.format(child)) == child
    assert hash(child) != hash(spec)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_mutated_cells_are_pruned_and_not_isomorphic(seed: int) -> None:
    space, rng = spaces.get("nasbench101"), np.random.default_rng(seed)
    spec = space.sample(rng)
    child = space.mutate(spec, rng)
    assert prune(child) == child
    assert module_hash(child) != module_hash(spec)


BAD = (
    ("nasbench101", "0100", "':'"),
    ("nasbench101", "01000:", "5 digits"),
    ("nasbench101", "0" * 64 + ":000000", "64 digits"),
    ("nasbench101", "0100:1", "1 operations"),
    ("nasbench101", "01000100x:1", "digit 8"),
    ("nasbench101", "010001000:3", "'3'"),
    ("nasbench101", "010101000:1", "1 -> 0"),
    ("nasbench101", "010000000:1", "no path"),
    ("nasbench101", "0111111001111100111110001110000110000010000000:11111"[:52], "digits"),
    ("nasbench201", "|skip_connect~0|", "1 nodes"),
    ("nasbench201", "|skip_connect~0|+|none~0|+|none~0|none~1|none~2|", "node 2"),
    ("nasbench201", BEST_201.replace("nor_conv_1x1", "nor_conv_5x5"), "'nor_conv_5x5~2'"),
    ("nasbench201", BEST_201.replace("skip_connect~0", "skip_connect~1"), "'skip_connect~1'"),
    ("nasbench201", BEST_201[:-1], "node 3"),
    ("nasbench_macro", "0101", "4 characters"),
    ("nasbench_macro", "01013210", "character 4"),
)


@pytest.mark.parametrize(("name", "text", "complaint"), BAD)
def test_bad_strings_are_named(name: str, text: str, complaint: str) -> None:
    with pytest.raises(cgir.SpecError) as caught:
        spaces.get(name).parse(text)
    assert name in str(caught.value)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_too_many_edges_are_refused_only_after_pruning() -> None:
    space = spaces.get("nasbench101")
    full = [[int(i < j) for j in range(5)] for i in range(5)]
    with pytest.raises(cgir.SpecError, match="10 edges"):
        space.parse("".join(str(edge) for row in full for edge in row) + ":000")
    full[3][4] = 0  # vertex 3 no longer leads to the output: it goes, with the 3 edges into it
    assert prune(space.parse("".join(str(edge) for row in full for edge in row) + ":000")).num_edges == 6


def test_unknown_spaces_and_skeletons() -> None:
    with pytest.raises(cgir.SpecError, match="nasbench101, nasbench201, nasbench_macro"):
        spaces.get("nasbench301")
    with pytest.raises(cgir.SpecError, match="no chanels; it has channels"):
        spaces.get("nasbench201", chanels=8)
    for bad in (0, -1, 2.0, True, "16"):
        with pytest.raises(cgir.SpecError, match="positive integers"):
            spaces.get("nasbench201", channels=bad)
    assert spaces.get("nasbench201", image=[1, 8, 8]) == spaces.get("nasbench201", image=(1, 8, 8))
    with pytest.raises(cgir.SpecError, match="2 channels cannot be split over 3"):
        spaces.get("nasbench101", channels=2).graph(spaces.get("nasbench101").parse("0111000001000010000100000:000"))


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


def test_nasbench201_enumerates_the_table() -> None:
    space = spaces.get("nasbench201")
    published = [row["arch_str"] for row in rows("nasbench201.csv.gz")]
    assert sorted(map(space.format, space.enumerate())) == sorted(published)


def test_every_published_parameter_count_of_nasbench101() -> None:
    space = spaces.get("nasbench101")
    wrong, total = [], 0
    for row in rows("nasbench101.csv.gz"):
        spec = space.parse(f"{row['adjacency_rowmajor']}:{row['interior_ops']}")
        total += 1
        if space.graph(spec).num_params != int(row["trainable_parameters"]):
            wrong.append(space.format(spec))
    assert total == 20_001
    assert not wrong


def test_module_hash_is_the_official_one() -> None:
    space = spaces.get("nasbench101")
    for row, _ in zip(rows("nasbench101.csv.gz"), range(2000), strict=False):
        assert module_hash(space.parse(f"{row['adjacency_rowmajor']}:{row['interior_ops']}")) == row["module_hash"]


def test_every_published_cost_of_nasbench_macro() -> None:
    space = spaces.get("nasbench_macro")
    found, published = [], []
    for row in rows("nasbench_macro_cifar10.csv.gz"):
        graph = space.graph(space.parse(row["arch_code8"]))
        found.append((graph.num_params, graph.flops // 2))
        published.append((int(row["params"]), int(row["flops"])))
    assert len(found) == 6561
    assert found == published


def test_published_parameter_counts_of_nasbench201() -> None:
    space = spaces.get("nasbench201")
    assert space.graph(space.parse(BEST_201)).num_params == 1_073_466
    assert space.graph(("nor_conv_3x3",) * 6).num_params == 1_531_546
    assert space.graph(("skip_connect",) * 6).num_params == 73_306


def count_live(module: torch.nn.Module, image: tuple[int, int, int]) -> int:
    """Parameters that the output depends on, by autograd."""
    module(torch.randn(2, *image)).sum().backward()
    return sum(p.numel() for p in module.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_those_that_autograd_reaches(name: str) -> None:
    space, rng = small(name), np.random.default_rng(3)
    for spec in (space.sample(rng) for _ in range(25)):
        graph = space.graph(spec)
        if graph.num_params:
            assert graph.num_params == count_live(space.module(spec), (3, 8, 8)), space.format(spec)


def trace(space: spaces.Space, spec: object) -> cgir.Graph:
    with torch.device("meta"):
        module = space.module(spec)
    return frontends.trace(module, input_shape=(1, 3, 32, 32))


def check_traces(space: spaces.Space, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(count):
        spec = space.sample(rng)
        graph, traced = space.graph(spec), trace(space, spec)
        assert isomorphic(graph, traced), space.format(spec)
        assert (graph.num_params, graph.flops) == (traced.num_params, traced.flops)


@pytest.mark.parametrize(("name", "count"), [("nasbench101", 15), ("nasbench201", 15), ("nasbench_macro", 200)])
def test_graphs_are_the_traced_networks(name: str, count: int) -> None:
    check_traces(spaces.get(name), count, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nasbench101", "nasbench201"])
def test_graphs_are_the_traced_networks_500(name: str) -> None:
    check_traces(spaces.get(name), 500, seed=2)


def test_graphs_are_well_formed_and_do_not_depend_on_the_shortcut_that_copies_cells() -> None:
    for name in ("nasbench101", "nasbench201"):
        deep, flat, rng = spaces.get(name, cells=3), spaces.get(name, cells=1), np.random.default_rng(4)
        for spec in (deep.sample(rng) for _ in range(50)):
            graph = deep.graph(spec)
            cgir.verify(graph)
            names = [param.id for node in graph.nodes for param in node.params]
            assert len(set(names)) == len(names)
            assert len(graph) >= len(flat.graph(spec))


def test_a_cell_that_leads_nowhere_is_not_connected() -> None:
    space = small("nasbench201")
    for text in ("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|", "|none~0|+|nor_conv_3x3~0|none~1|+|none~0|nor_conv_1x1~1|none~2|"):
        spec = space.parse(text)
        graph, module = space.graph(spec), space.module(spec).eval()
        assert [(node.op, node.inputs, node.shape) for node in graph.nodes] == [("Input", (), (3, 32, 32)), ("Output", (), (10,))]
        assert isomorphic(graph, trace(space, spec))
        with torch.no_grad():
            assert torch.equal(module(torch.randn(2, 3, 32, 32)), module(torch.zeros(2, 3, 32, 32)))


def test_dead_vertices_change_nothing() -> None:
    space = small("nasbench101")
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


@pytest.mark.parametrize("name", NAMES)
def test_batches_hold_the_graphs(name: str) -> None:
    space, rng = small(name), np.random.default_rng(5)
    specs = [space.sample(rng) for _ in range(6)]
    batch = space.graphs(specs)
    assert np.diff(batch.ptr).tolist() == [len(space.graph(spec)) for spec in specs]


def test_nothing_global_is_touched() -> None:
    before = torch.random.get_rng_state()
    np.random.seed(7)
    state = np.random.get_state()[1].copy()
    for name in NAMES:
        space = small(name)
        space.graph(space.mutate(space.sample(np.random.default_rng(0)), np.random.default_rng(1)))
    assert torch.equal(before, torch.random.get_rng_state())
    assert np.array_equal(state, np.random.get_state()[1])


def test_nasbench201_has_5425_distinct_graphs() -> None:
    space = spaces.get("nasbench201", cells=1)
    batch = space.graphs(space.enumerate())
    assert len(set(graph_hashes(batch, [None] * len(batch)))) == 5425
