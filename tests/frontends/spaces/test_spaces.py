"""What every search space promises: strings read back, graphs are the traced networks, batches equal single graphs."""

from __future__ import annotations

from itertools import islice

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from space_checks import INFINITE, LOOPS, NAMES, check_traces, count_live, small

import cgir
from cgir.graph_batch import GraphBatch
from frontends import spaces
from frontends.spaces.cell import CellGraph


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


@pytest.mark.parametrize("name", sorted(set(NAMES) - INFINITE))
def test_enumeration_is_lazy_and_without_repeats(name: str) -> None:
    space = spaces.get(name)
    specs = list(islice(space.enumerate(), 300))
    assert len(set(specs)) == len(specs)
    assert len(specs) == 300 or len(list(space.enumerate())) == len(specs) > 0
    assert [space.parse(space.format(spec)) for spec in specs] == specs
    assert specs == list(islice(space.enumerate(), 300))


@pytest.mark.parametrize("name", sorted(INFINITE & set(NAMES)))
def test_spaces_without_an_end_say_so(name: str) -> None:
    with pytest.raises(cgir.SpecError, match="finite"):
        next(spaces.get(name).enumerate())
    assert spaces.get(name).count() is None


# As published: NAS-Bench-101 section 2.1, NAS-Bench-1Shot1 section 2.3, NAS-Bench-201 section 2.1, DARTS 180^2 * 7^16,
# NAS-Bench-Graph section 3.1, Once-for-All section 1 (2 * 10^19 networks at 25 image sizes).
@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("nasbench101", 423_624), ("nasbench1shot1", 6_240), ("nasbench201", 15_625), ("nasbench_macro", 3**8),
        ("transnas_micro", 4_096), ("transnas_macro", 3_256), ("darts", 180**2 * 7**16), ("nasnet", 5.1e33),
        ("ofa_mbv3", 2.2e19 * 25), ("mnasnet", (4 * 3 * 4 * 2) ** 7 * 5), ("proxylessnas", 6**6 * 7**15),
        ("gpt", 14 * 7 * 5 - 7 * 8),
        ("naap440", 440), ("cifar_resnet", 18 * 23 * 3),
        ("mobilenetv2", 3**6 * 5**5 * 4**4 * 5**2), ("lstm", 280),
        ("nasbench_graph", 26_206), ("graphgym", 3 * 4 * 3 * 3 * 3 * 2 * 3),
    ],
)  # fmt: skip
def test_the_number_of_networks_is_known(name: str, published: float) -> None:
    assert spaces.get(name).count() == pytest.approx(published, rel=0.02 if isinstance(published, float) else 0)


@pytest.mark.parametrize("name", NAMES)
def test_batches_equal_graphs_written_one_by_one(name: str) -> None:
    space, rng = small(name), np.random.default_rng(5)
    specs = [space.sample(rng) for _ in range(20)]
    batch, packed = space.graphs(specs), GraphBatch.from_graphs(map(space.graph, specs))
    assert batch.kinds == packed.kinds
    for found, expected in (
        (batch.kind, packed.kind),
        (batch.src, packed.src),
        (batch.dst, packed.dst),
        (batch.ptr, packed.ptr),
    ):
        assert found.dtype == np.int64
        assert np.array_equal(found, expected)
    assert len(space.graphs([])) == 0


@pytest.mark.parametrize("name", NAMES)
def test_graphs_are_well_formed(name: str) -> None:
    space, rng = small(name), np.random.default_rng(4)
    for spec in (space.sample(rng) for _ in range(20)):
        graph = space.graph(spec)
        cgir.verify(graph)
        assert graph.level == "module"
        assert "Opaque" not in graph.op_counts()


@pytest.mark.parametrize("name", NAMES)
def test_small_graphs_are_the_traced_networks(name: str) -> None:
    check_traces(small(name), 5, seed=6)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_graphs_are_the_traced_networks_300(name: str) -> None:
    check_traces(spaces.get(name), 300, seed=2)


# A loop reads all its states, also those that lead only to themselves.
@pytest.mark.parametrize("name", sorted(set(NAMES) - LOOPS))
def test_parameters_are_those_that_autograd_reaches(name: str) -> None:
    space, rng = small(name), np.random.default_rng(3)
    for spec in (space.sample(rng) for _ in range(8)):
        graph = space.graph(spec)
        if graph.num_params:
            assert graph.num_params == count_live(space.module(spec), space.inputs(spec)), space.format(spec)


@pytest.mark.parametrize("name", NAMES)
def test_cell_graphs_are_ordered_and_pruned_to_what_lies_on_a_path(name: str) -> None:
    space, rng = spaces.get(name), np.random.default_rng(7)
    for spec in (space.sample(rng) for _ in range(40)):
        cell = space.cell_graph(spec)
        assert all(0 <= source < target < len(cell.ops) for source, target in cell.edges)
        assert list(cell.edges) == sorted(set(cell.edges))
        assert cell.adjacency().sum() == len(cell.edges)
        check_pruning(cell)


def check_pruning(cell: CellGraph) -> None:
    """Against networkx's ancestors and descendants."""
    network = nx.DiGraph(cell.edges)
    network.add_nodes_from(range(len(cell.ops)))
    network.remove_nodes_from([node for node, op in enumerate(cell.ops) if op in ("none", "zeroize")])
    inputs = [node for node, op in enumerate(cell.ops) if op.startswith("input")]
    outputs = [node for node, op in enumerate(cell.ops) if op.startswith("output")]
    after = set(inputs).union(*(nx.descendants(network, node) for node in inputs))
    before = set(outputs).union(*(nx.ancestors(network, node) for node in outputs))
    live = network.subgraph(after & before)
    pruned = cell.pruned()
    assert sorted(pruned.ops) == sorted(cell.ops[node] for node in (after & before) | set(inputs) | set(outputs))
    assert len(pruned.edges) == live.number_of_edges()
    assert pruned.pruned() == pruned


def test_pruning_drops_zeros_and_keeps_ends() -> None:
    cell = CellGraph(
        ("input", "conv", "none", "conv", "skip", "output"), ((0, 1), (0, 3), (1, 2), (2, 5), (3, 4), (4, 5))
    )
    assert cell.pruned() == CellGraph(("input", "conv", "skip", "output"), ((0, 1), (1, 2), (2, 3)))
    assert CellGraph(("input", "none", "output"), ((0, 1), (1, 2))).pruned() == CellGraph(("input", "output"), ())
    assert cell.adjacency().tolist()[1] == [0, 0, 1, 0, 0, 0]


def test_unknown_spaces_and_skeletons() -> None:
    with pytest.raises(cgir.SpecError, match="nasbench101, nasbench201"):
        spaces.get("nasbench301")
    with pytest.raises(cgir.SpecError, match="no chanels; it has channels"):
        spaces.get("nasbench201", chanels=8)
    for bad in (0, -1, 2.0, True, "16"):
        with pytest.raises(cgir.SpecError, match="positive integers"):
            spaces.get("nasbench201", channels=bad)
    assert spaces.get("nasbench201", image=[1, 8, 8]) == spaces.get("nasbench201", image=(1, 8, 8))
    with pytest.raises(cgir.SpecError, match="a skeleton of 3,000,000 cells or layers; expected at most 100,000"):
        spaces.get("nasbench101", stacks=1_000_000)
    with pytest.raises(cgir.SpecError, match="2 channels cannot be split over 3"):
        spaces.get("nasbench101", channels=2).graph(spaces.get("nasbench101").parse("0111000001000010000100000:000"))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_global_is_touched(name: str) -> None:
    before = torch.random.get_rng_state()
    np.random.seed(7)
    state = np.random.get_state()[1].copy()
    space = small(name)
    space.graph(space.mutate(space.sample(np.random.default_rng(0)), np.random.default_rng(1)))
    assert torch.equal(before, torch.random.get_rng_state())
    assert np.array_equal(state, np.random.get_state()[1])
