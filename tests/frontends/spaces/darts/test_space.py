"""DARTS: the table's strings, parameters and FLOPs, published networks, genotypes with `none`, NAS-Bench-301."""

from __future__ import annotations

from collections import Counter
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from space_checks import assert_refused, check_traces, count_live, rows, trace

import cgir
from cgir.analysis.isomorphism import isomorphic
from cgir.cost import kind_flops
from frontends import spaces
from frontends.spaces.darts.genotype import Cell, Edge, Genotype
from frontends.spaces.darts.space import OPS, from_nasbench301

TABLE = "darts_cifar10.csv.gz"
DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), "
    "('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('skip_connect', 2), "
    "('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], "
    "reduce_concat=[2, 3, 4, 5])"
)
# operation and input of each pair; multiply-adds and parameters in millions, as listed beside these genotypes in
# FairDARTS' genotypes.py
PUBLISHED = {
    "DARTS_V2": ("s30 s31 s30 s31 s31 k0 k0 d32", "m0 m1 k2 m1 m0 k2 k2 m1", 528, 3.34),
    "GDAS_V1": ("k0 k1 k0 s52 s33 k0 s54 s33", "s50 s31 s52 s51 d52 s31 s50 s52", 519, 3.36),
    "MdeNAS": ("s51 s30 k0 s51 s53 s31 d53 m4", "m0 s51 k0 k1 s33 k2 d33 s50", 599, 3.78),
    "PDARTS": ("k0 d31 k0 s31 s31 s33 s30 d54", "a0 s51 s30 d52 m0 d31 d31 d53", 532, 3.43),
    "SNAS": ("s30 s31 k0 d31 k1 k0 k0 s31", "m0 m1 m1 k2 k2 m1 m0 d52", 422, 2.66),
}
SHORT = {
    "s3": "sep_conv_3x3",
    "s5": "sep_conv_5x5",
    "d3": "dil_conv_3x3",
    "d5": "dil_conv_5x5",
    "k": "skip_connect",
    "m": "max_pool_3x3",
    "a": "avg_pool_3x3",
}


def short_cell(text: str) -> Cell:
    return tuple(Edge(SHORT[pair[:-1]], int(pair[-1])) for pair in text.split())


def table() -> tuple[list[str], list[Genotype], np.ndarray, np.ndarray]:
    """Strings, specs, parameters and FLOPs of every row."""
    lines = list(rows(TABLE))
    texts = [line["darts_genotype"] for line in lines]
    numbers = [np.asarray([round(float(line[column]) * 1e6) for line in lines]) for column in ("params_M", "flops_M")]
    return texts, list(map(spaces.get("darts").parse, texts)), *numbers


def per_graph(specs: list[Genotype], value: Any) -> np.ndarray:
    """The sum over nodes of `value(kind)`, for each spec's graph."""
    batch = spaces.get("darts").graphs(specs)
    values = np.asarray([value(kind) for kind in batch.kinds], np.int64)
    return np.bincount(batch.graph_of_node, values[batch.kind]).astype(np.int64)


def num_params(kind: Any) -> int:
    return sum(map(prod, kind.param_shapes))


def test_strings_of_the_table_read_back() -> None:
    texts, specs, *_ = table()
    assert len(set(specs)) == 300
    assert list(map(spaces.get("darts").format, specs)) == texts


def check_built_parameters(stride: int) -> None:
    _, specs, published, _ = table()
    space = spaces.get("darts")
    with torch.device("meta"):
        built = [sum(p.numel() for p in space.module(spec).parameters()) for spec in specs[::stride]]
    assert built == published[::stride].tolist()


def test_published_parameters_count_all_that_is_built() -> None:
    check_built_parameters(10)


@pytest.mark.slow
def test_published_parameters_count_all_that_is_built_300() -> None:
    check_built_parameters(1)


def test_published_parameters_are_the_graphs_where_none_leaves_nothing_idle() -> None:
    _, specs, published, _ = table()
    found = per_graph(specs, num_params)
    idle = np.asarray([any(map(has_idle_parameters, spec)) for spec in specs])
    assert np.array_equal(found == published, ~idle)
    assert (found <= published).all()
    assert (~idle).sum() == 253


def has_idle_parameters(cell: Cell) -> bool:
    """Whether a cell has weights that do nothing.

    It leaves an input unread, or has an operation on a node with nothing but `none`.
    """
    alive, read, idle = {0, 1}, set(), False
    for place in range(0, 8, 2):
        live = [edge for edge in cell[place : place + 2] if edge.op != "none" and edge.source in alive]
        alive |= {place // 2 + 2} if live else set()
        read |= {edge.source for edge in live}
        idle |= any("conv" in edge.op and edge.source not in alive for edge in cell[place : place + 2])
    return idle or not {0, 1} <= read


def test_published_flops_are_multiply_adds_plus_norms_and_means() -> None:
    """FLOPs as thop counts them.

    4 for each value that a BatchNorm returns, 1 for each of an average pooling, 65 for a mean of 8 x 8 values.
    """
    extra = {"BatchNorm": 4, "AvgPool": 1, "GlobalAvgPool": 8 * 8 + 1}
    _, specs, parameters, published = table()
    found = per_graph(specs, lambda kind: kind_flops(kind) // 2 + extra.get(kind.op, 0) * prod(kind.shape))
    live = (per_graph(specs, num_params) == parameters) & ~np.asarray(
        [any(map(has_idle_pooling, spec)) for spec in specs]
    )
    assert np.array_equal(found[live], published[live])
    assert live.sum() == 250
    assert (found[~live] < published[~live]).all()


def has_idle_pooling(cell: Cell) -> bool:
    """Whether an average pooling reads a node that both have `none`: it runs on zeros in the authors' network."""
    zeros = {place // 2 + 2 for place in range(0, 8, 2) if cell[place].op == cell[place + 1].op == "none"}
    return any(edge.op == "avg_pool_3x3" and edge.source in zeros for edge in cell)


@pytest.mark.parametrize("name", PUBLISHED)
def test_networks_of_the_literature(name: str) -> None:
    normal, reduce, multiply_adds, parameters = PUBLISHED[name]
    graph = spaces.get("darts").graph(Genotype(short_cell(normal), short_cell(reduce)))
    assert graph.flops // 2 // 10**6 == multiply_adds
    assert graph.num_params // 10**4 / 100 == parameters


def test_darts_v2_is_written_with_lists_too() -> None:
    space = spaces.get("darts")
    spec = space.parse(DARTS_V2)
    assert spec == Genotype(short_cell(PUBLISHED["DARTS_V2"][0]), short_cell(PUBLISHED["DARTS_V2"][1]))
    assert space.graph(spec).num_params == 3_349_342
    assert space.format(spec) == DARTS_V2.replace("[2, 3, 4, 5]", "range(2, 6)")
    assert space.parse(f"  {DARTS_V2}\n") == spec


def test_graphs_are_the_traced_networks() -> None:
    check_traces(spaces.get("darts"), 4, seed=1)
    check_traces(spaces.get("darts", channels=8, layers=6), 15, seed=2)


def test_graphs_of_the_table_are_the_traced_networks() -> None:
    _, specs, *_ = table()
    space = spaces.get("darts", channels=8, layers=8)
    for spec in [spec for spec in specs if any(map(has_idle_parameters, spec))][:20]:
        assert isomorphic(space.graph(spec), trace(space, spec))


@st.composite
def cells_with_none(draw: st.DrawFn, often: int) -> Cell:
    edges: list[Edge] = []
    for state in range(2, 6):
        sources = draw(st.permutations(range(state)))[:2]
        edges += [Edge(draw(st.sampled_from(OPS + ("none",) * often)), source) for source in sources]
    return tuple(edges)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from((0, 8, 30)), st.integers(1, 5))
def test_none_leaves_out_what_has_no_effect(data: st.DataObject, often: int, layers: int) -> None:
    space = spaces.get("darts", channels=4, layers=layers, image=(3, 8, 8))
    spec = Genotype(data.draw(cells_with_none(often)), data.draw(cells_with_none(often)))
    graph = space.graph(spec)
    cgir.verify(graph)
    assert space.parse(space.format(spec)) == spec
    assert isomorphic(graph, trace(space, spec)), space.format(spec)
    if graph.num_params:
        assert graph.num_params == count_live(space.module(spec), space.inputs(spec))


def test_cells_that_lead_nowhere_are_not_connected() -> None:
    nothing = tuple(Edge("none", source) for source in (0, 1) * 4)
    something = tuple(Edge("sep_conv_3x3", source) for source in (0, 1) * 4)
    space = spaces.get("darts", channels=4, layers=6, image=(3, 16, 16))
    graph, module = space.graph(Genotype(nothing, something)), space.module(Genotype(nothing, something)).eval()
    assert [(node.op, node.inputs, node.shape) for node in graph.nodes] == [
        ("Input", (), (3, 16, 16)),
        ("Output", (), (10,)),
    ]
    with torch.no_grad():
        assert torch.equal(module(torch.randn(2, 3, 16, 16)), module(torch.zeros(2, 3, 16, 16)))
    # the cell after a reduction cell that gives zeros still sees the one before it
    assert len(space.graph(Genotype(something, nothing))) > 2


def test_dropping_none_is_what_multiplying_by_zero_gives() -> None:
    """Against the authors' `Zero`, at stride 1 and 2, on live states: the outputs are equal."""
    space = spaces.get("darts", channels=4, layers=3)
    none, skip, pool = Edge("none", 0), Edge("skip_connect", 1), Edge("max_pool_3x3", 0)
    module = space.module(
        Genotype((none, skip, none, Edge("sep_conv_3x3", 2)) * 2, (none, skip, pool, skip) * 2)
    ).eval()

    class Zero(torch.nn.Module):
        def __init__(self, stride: int) -> None:
            super().__init__()
            self.stride = stride

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :, :: self.stride, :: self.stride] * 0.0

    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        before = module(x)
        for number, cell in enumerate(module.cells):
            for place, edge in enumerate(cell.cell):
                if edge.op == "none":
                    cell.operations[place] = Zero(2 if number in (1, 2) and edge.source < 2 else 1)
            cell.cell = tuple(Edge("zero", edge.source) if edge.op == "none" else edge for edge in cell.cell)
        assert torch.equal(module(x), before)


def test_sampling_is_uniform_over_seven_operations_and_different_inputs() -> None:
    space, rng = spaces.get("darts"), np.random.default_rng(0)
    specs = [space.sample(rng) for _ in range(3000)]
    ops = Counter(edge.op for spec in specs for cell in spec for edge in cell)
    assert sorted(ops) == sorted(OPS[1:])
    assert max(abs(count - 48000 / 7) for count in ops.values()) < 5 * np.sqrt(48000 / 7)
    inputs = Counter((cell[6].source, cell[7].source) for spec in specs for cell in spec)
    assert len(inputs) == 10
    assert all(a < b for a, b in inputs)
    assert max(abs(count - 600) for count in inputs.values()) < 5 * np.sqrt(600)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 2**32 - 1))
def test_mutations_change_one_operation_or_one_input(data: st.DataObject, seed: int) -> None:
    space = spaces.get("darts")
    spec = Genotype(data.draw(cells_with_none(1)), data.draw(cells_with_none(1)))
    child = space.mutate(spec, np.random.default_rng(seed))
    before, after = (
        [(which, place // 2, edge) for which, cell in enumerate(s) for place, edge in enumerate(cell)]
        for s in (spec, child)
    )
    (gone,), (new,) = Counter(before) - Counter(after), Counter(after) - Counter(before)
    assert gone[:2] == new[:2]
    assert (gone[2].op == new[2].op) != (gone[2].source == new[2].source)
    assert space.parse(space.format(child)) == child


def test_cell_graphs_hold_both_cells() -> None:
    space = spaces.get("darts")
    cell = space.cell_graph(space.parse(DARTS_V2))
    assert cell.ops[:3] == ("input_1", "input_2", "sep_conv_3x3")
    assert cell.ops[10:14] == ("output", "input_1", "input_2", "max_pool_3x3")
    assert len(cell.ops) == 22
    matrix = cell.adjacency()
    assert not matrix[:11, 11:].any()
    # dil_conv_3x3 of the last node reads state 2, the sum of the first two operations
    assert matrix[:, 9].nonzero()[0].tolist() == [2, 3]
    # skip_connect of the second node of the reduction cell likewise
    assert matrix[:, 15].nonzero()[0].tolist() == [13, 14]
    assert matrix[:, 21].nonzero()[0].tolist() == list(range(13, 21))


CONFIG = {
    "edge_normal_0": "skip_connect", "edge_normal_1": "sep_conv_3x3", "edge_normal_2": "sep_conv_3x3",
    "edge_normal_3": "skip_connect",
    "edge_normal_5": "dil_conv_3x3", "edge_normal_7": "dil_conv_5x5", "edge_normal_10": "sep_conv_3x3",
    "edge_normal_11": "skip_connect",
    "edge_reduce_0": "max_pool_3x3", "edge_reduce_1": "avg_pool_3x3", "edge_reduce_2": "skip_connect",
    "edge_reduce_3": "dil_conv_5x5",
    "edge_reduce_6": "sep_conv_3x3", "edge_reduce_7": "sep_conv_5x5", "edge_reduce_11": "sep_conv_3x3",
    "edge_reduce_12": "dil_conv_3x3",
    "inputs_node_normal_3": "0_1", "inputs_node_normal_4": "0_2", "inputs_node_normal_5": "1_2",
    "inputs_node_reduce_3": "0_1", "inputs_node_reduce_4": "1_2", "inputs_node_reduce_5": "2_3",
}  # fmt: skip


def config(changes: dict[str, object]) -> dict[str, object]:
    values: dict[str, object] = CONFIG | changes
    return {f"NetworkSelectorDatasetInfo:darts:{key}": value for key, value in values.items() if value is not None}


def test_nasbench301_configurations_give_the_published_parameters() -> None:
    """The training in the benchmark's own repository has 50 channels, 20 layers and 6,369,358 parameters.

    DARTS' auxiliary head is among them.
    """
    graph = spaces.get("darts", channels=50, layers=20).graph(from_nasbench301(config({})))
    auxiliary = 800 * 128 + 2 * 128 + 128 * 768 * 2 * 2 + 2 * 768 + 768 * 10 + 10
    assert graph.num_params + auxiliary == 6_369_358


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_nasbench301_configurations_read_back(seed: int) -> None:
    spec = spaces.get("darts").sample(np.random.default_rng(seed))
    values: dict[str, object] = {"NetworkSelectorDatasetInfo:darts:layers": 8}
    for name, cell in zip(("normal", "reduce"), spec, strict=True):
        first = {2: 0, 3: 2, 4: 5, 5: 9}  # the number of the first edge into each state
        for place, edge in enumerate(cell):
            values[f"NetworkSelectorDatasetInfo:darts:edge_{name}_{first[place // 2 + 2] + edge.source}"] = edge.op
        for state in (3, 4, 5):
            inputs = sorted(edge.source for edge in cell[2 * state - 4 : 2 * state - 2])
            values[f"NetworkSelectorDatasetInfo:darts:inputs_node_{name}_{state}"] = f"{inputs[0]}_{inputs[1]}"
    assert from_nasbench301(values) == spec


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"inputs_node_normal_4": None}, "inputs_node_normal_4 is None; expected one of 0_1, 0_2, 0_3, 1_2, 1_3, 2_3"),
        ({"inputs_node_reduce_3": "0_3"}, "inputs_node_reduce_3 is '0_3'"),
        ({"edge_normal_7": None}, "edge_normal_7 is None; expected one of max_pool_3x3"),
        ({"edge_reduce_0": "none"}, "edge_reduce_0 is 'none'; expected"),
    ],
)
def test_bad_configurations_are_named(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(cgir.SpecError) as caught:
        from_nasbench301(config(changes))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


BAD = (
    ("", "cannot be read"),
    ("Genotype(normal=[", "cannot be read"),
    ("Genotype(normal=\n[", "cannot be read"),
    ("(" * 5000, "cannot be read"),
    ("-" * 100_000 + "1", "has 100,001 characters; expected at most 10,000"),
    ("\0", "cannot be read"),
    ("__import__('os').getcwd()", "is not a genotype"),
    ("Genotype([], range(2, 6), [], range(2, 6))", "is not a genotype"),
    (
        "Genotype(normal=[], reduce=[])",
        "has the fields normal, reduce; expected normal, normal_concat, reduce, reduce_concat",
    ),
    ("Genotype(**{'normal': 1})", "has the fields **"),
    (DARTS_V2.replace("normal=[", "normal=[('skip_connect', 0), "), "the normal cell has 9 pairs; expected 8"),
    (
        DARTS_V2.replace("('dil_conv_3x3', 2)", "('dil_conv_3x3', 2, 0)"),
        "the normal cell, pair 7, is \"('dil_conv_3x3', 2, 0)\"",
    ),
    (DARTS_V2.replace("('dil_conv_3x3', 2)", "('dil_conv_3x3', '2')"), "the normal cell, pair 7, is"),
    (DARTS_V2.replace("('dil_conv_3x3', 2)", "('dil_conv_3x3', True)"), "the normal cell, pair 7, is"),
    (DARTS_V2.replace("('dil_conv_3x3', 2)", "('dil_conv_3x3', -2)"), "the normal cell, pair 7, is"),
    (DARTS_V2.replace("('dil_conv_3x3', 2)", "exit()"), "the normal cell, pair 7, is 'exit()'"),
    (
        DARTS_V2.replace("dil_conv_3x3", "dil_conv_7x7"),
        "the normal cell, pair 7, has the operation 'dil_conv_7x7'; expected one of none,",
    ),
    (
        DARTS_V2.replace("('dil_conv_3x3', 2)", "('dil_conv_3x3', 5)"),
        "the normal cell, pair 7, reads state 5; expected 0 to 4",
    ),
    (
        DARTS_V2.replace("('dil_conv_3x3', 2)", "('dil_conv_3x3', 0)"),
        "both pairs of node 3 in the normal cell read state 0",
    ),
    (
        DARTS_V2.replace("('max_pool_3x3', 0), ('max", "('max_pool_3x3', 2), ('max", 1),
        "the reduce cell, pair 0, reads state 2; expected 0 to 1",
    ),
    (DARTS_V2.replace("reduce=[", "reduce=5 or ["), "the reduce cell is"),
    (
        DARTS_V2.replace("normal_concat=[2, 3, 4, 5]", "normal_concat=[4, 5]"),
        "normal_concat is [4, 5]; expected [2, 3, 4, 5]",
    ),
    (
        DARTS_V2.replace("reduce_concat=[2, 3, 4, 5]", "reduce_concat=range(6)"),
        "reduce_concat is 'range(6)'; expected a list",
    ),
    (
        DARTS_V2.replace("reduce_concat=[2, 3, 4, 5]", "reduce_concat=range(2, 10**9)"),
        "reduce_concat is 'range(2, 10 ** 9)'",
    ),
    (DARTS_V2.replace("reduce_concat=[2, 3, 4, 5]", "reduce_concat=[]"), "reduce_concat is '[]'"),
)


@pytest.mark.parametrize(("text", "complaint"), BAD, ids=range(len(BAD)))
def test_bad_strings_are_named(text: str, complaint: str) -> None:
    assert_refused(spaces.get("darts"), text, complaint)


def test_images_that_cannot_be_halved_are_refused() -> None:
    with pytest.raises(
        cgir.SpecError, match=r"image=\(3, 30, 32\) of 20 layers; expected height and width to be multiples of 4"
    ):
        spaces.get("darts", image=(3, 30, 32))
    assert spaces.get("darts", image=(3, 30, 32), layers=1).image == (3, 30, 32)
