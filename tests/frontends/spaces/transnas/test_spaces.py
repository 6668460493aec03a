"""TransNAS-Bench-101: strings, both whole spaces, published and independently counted parameters, all seven tasks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from space_checks import assert_refused, check_traces, rows, trace

import cgir
from cgir.analysis.isomorphism import isomorphic
from cgir.analysis.weisfeiler_lehman import graph_hashes
from frontends import spaces
from frontends.spaces.edge_cell import EDGES, compile_cell
from frontends.spaces.transnas.tasks import IMAGE_TASKS, TASKS, decoder_blocks

# Of "64-41414-3_33_333", counted by the tests of a port by others (zcp_test,
# test_transnas_official_task_heads_have_distinct_output_contracts).
COUNTED = {
    "class_scene": 41_435_727, "class_object": 41_450_091, "room_layout": 41_416_233, "jigsaw": 46_020_616,
    "segmentsemantic": 52_435_793, "normal": 64_283_475, "autoencoder": 64_283_475,
}  # fmt: skip

BAD = (
    ("transnas_micro", "64-41414", "'64-41414'"),
    ("transnas_micro", "32-41414-1_30_321", "'32-41414-'"),
    ("transnas_micro", "64-41414-1_30", "2 nodes"),
    ("transnas_micro", "64-41414-1_3_321", "node 2"),
    ("transnas_micro", "64-41414-1_30_421", "node 3"),
    ("transnas_micro", "64-41414-1_30_32²", "node 3"),
    ("transnas_macro", "64-433241", "64-DIGITS-basic"),
    ("transnas_macro", "64-433241-1_30_321", "64-DIGITS-basic"),
    ("transnas_macro", "64-4350-basic", "module 2"),
    ("transnas_macro", "64-433-basic", "3 modules; expected 4 to 6"),
    ("transnas_macro", "64--basic", "0 modules"),
    ("transnas_macro", "64-1333-basic", "0 modules that double"),
    ("transnas_macro", "64-4444-basic", "4 modules that double"),
    ("transnas_macro", "64-2112-basic", "0 modules that halve"),
    ("transnas_macro", "64-43333-basic", "5 modules that halve"),
)


@pytest.mark.parametrize(("name", "text", "complaint"), BAD)
def test_bad_strings_are_named(name: str, text: str, complaint: str) -> None:
    assert_refused(spaces.get(name), text, complaint)


@pytest.mark.parametrize(
    ("name", "file", "count"),
    [("transnas_micro", "transnas101_micro", 4096), ("transnas_macro", "transnas101_macro", 3256)],
)
def test_enumerations_are_the_tables(name: str, file: str, count: int) -> None:
    space = spaces.get(name)
    published = [row["transnas_arch_str"] for row in rows(f"{file}.csv.gz")]
    specs = list(space.enumerate())
    assert len(specs) == count
    assert sorted(map(space.format, specs)) == sorted(published)
    assert [space.format(space.parse(text)) for text in published] == published


def test_codes_are_those_that_the_table_lists() -> None:
    for row in rows("transnas101_micro.csv.gz"):
        assert row["naslib_op_indices"] == str(spaces.get("transnas_micro").parse(row["transnas_arch_str"]))


def leads_through(ops: tuple[int, ...]) -> bool:
    """Whether there is a path from node 0 to node 3, by powers of the adjacency matrix."""
    matrix = np.eye(4, dtype=int)
    for (target, source), op in zip(EDGES, ops, strict=True):
        matrix[source, target] = op > 0
    return bool(np.linalg.matrix_power(matrix, 3)[0, 3])


def test_169_cells_lead_nowhere_and_share_one_label() -> None:
    space = spaces.get("transnas_micro")
    dead = {space.format(spec) for spec in space.enumerate() if not space.backbone(spec).is_connected}
    assert len(dead) == 169
    assert dead == {space.format(spec) for spec in space.enumerate() if not leads_through(spec)}
    assert (
        len(
            {
                row["class_object_val_metric"]
                for row in rows("transnas101_micro.csv.gz")
                if row["transnas_arch_str"] in dead
            }
        )
        == 1
    )


@pytest.mark.parametrize("task", TASKS)
def test_a_cell_that_leads_nowhere_is_not_connected(task: str) -> None:
    space = spaces.get("transnas_micro", channels=4, cells=1, image=(3, 64, 48), task=task)
    for text in ("64-41414-0_00_000", "64-41414-3_00_002"):
        spec = space.parse(text)
        graph, traced = space.graph(spec), trace(space, spec)
        assert [node.op for node in graph.nodes] == ["Input", "Output"]
        assert isomorphic(graph, traced), cgir.diff(graph, traced)
        assert graph.nodes[1].shape == traced.nodes[1].shape


@pytest.mark.parametrize("task", TASKS)
def test_every_task(task: str) -> None:
    space = spaces.get("transnas_micro", task=task)
    spec = space.parse("64-41414-3_33_333")
    graph = space.graph(spec)
    cgir.verify(graph)
    assert graph.num_params == COUNTED[task]
    assert isomorphic(graph, trace(space, spec))
    assert graph.nodes[-1].shape == ((TASKS[task], 256, 256) if task in IMAGE_TASKS else (TASKS[task],))
    check_traces(spaces.get("transnas_micro", task=task, channels=8, cells=1, image=(3, 64, 48)), 2, seed=3)
    check_traces(spaces.get("transnas_macro", task=task, channels=8, cells=1, image=(3, 64, 64)), 2, seed=4)


@pytest.mark.parametrize("task", TASKS)
def test_networks_run(task: str) -> None:
    """Shapes and parameters with gradients, by PyTorch; in jigsaw all nine tiles go through the same weights."""
    for name, text in (("transnas_micro", "64-41414-1_02_333"), ("transnas_macro", "64-1234-basic")):
        space = spaces.get(name, task=task, channels=4, cells=1, image=(3, 64, 64))
        spec = space.parse(text)
        module, (x,) = space.module(spec), space.inputs(spec)
        y = module(torch.randn(2, *x.shape[1:]))
        graph = space.graph(spec)
        assert tuple(y.shape[1:]) == graph.nodes[-1].shape
        y.sum().backward()
        assert sum(p.numel() for p in module.parameters() if p.grad is not None) == graph.num_params


def resnet18(image_channels: int, classes: int) -> int:
    """Parameters of ResNet-18, counted from the paper (He et al. 2016, table 1).

    Blocks are two 3x3 convolutions, with 1x1 shortcuts where the shape changes.
    """
    total = 64 * image_channels * 49 + 2 * 64
    for inner, outer in ((64, 64), (64, 128), (128, 256), (256, 512)):
        total += 9 * (inner * outer + 3 * outer * outer) + 8 * outer
        total += inner * outer + 2 * outer if inner != outer else 0
    return total + 513 * classes


def test_the_layout_of_resnet18() -> None:
    """Modules 1, 4, 4, 4 of ResNet blocks are those of ResNet-18.

    The stem is two 3x3 convolutions (3 -> 32 -> 64) in place of one 7x7.
    """
    assert resnet18(3, 1000) == 11_689_512  # as torchvision counts it
    space = spaces.get("transnas_macro")
    stems = 9 * (3 * 32 + 32 * 64) + 2 * (32 + 64) - (49 * 3 * 64 + 2 * 64)
    assert space.graph(space.parse("64-1444-basic")).num_params == resnet18(3, 75) + stems


def test_decoders_have_the_layers_of_the_authors() -> None:
    """A decoder doubles the size as often as the backbone halved it; its number of layers does not depend on that."""
    for num_downsamplings in range(3, 7):
        for task, layers in (("segmentsemantic", 7), ("normal", 13)):
            blocks = decoder_blocks(task, num_downsamplings)
            assert len(blocks) == layers
            assert sum(block.upsamples for block in blocks) == num_downsamplings
            assert blocks[0] == (1024, False)
            assert blocks[-1] == (32 if task == "segmentsemantic" else 16, True)


def test_cells_of_one_meaning_have_one_graph() -> None:
    """As many distinct graphs as cells with distinct live parts.

    Skips at the cell's input are layers here, which NAS-Bench-201 does not have.
    """
    space = spaces.get("transnas_micro", cells=1)
    batch = space.graphs(space.enumerate())
    hashes = graph_hashes(batch, [None] * len(batch))
    programs = [compile_cell(space.backbone(spec).ops) for spec in space.enumerate()]
    assert len(batch) == 4096
    assert hashes[0] == hashes[1]
    assert len({hash_ for hash_, program in zip(hashes, programs, strict=True) if program is None}) == 1
    assert len(set(hashes)) <= len(set(programs))


def test_macro_mutations_reach_every_number_of_modules() -> None:
    space, rng = spaces.get("transnas_macro"), np.random.default_rng(0)
    spec, seen = space.sample(rng), set()
    for _ in range(300):
        other = space.mutate(spec, rng)
        assert other != spec
        assert abs(len(other) - len(spec)) <= 1
        spec = space.parse(space.format(other))
        seen.add(len(spec))
    assert seen == {4, 5, 6}


def test_cell_graphs() -> None:
    micro, macro = spaces.get("transnas_micro"), spaces.get("transnas_macro")
    cell = micro.cell_graph(micro.parse("64-41414-1_02_333"))
    assert cell.ops == ("input", "skip", "zeroize", "conv1x1", "conv3x3", "conv3x3", "conv3x3", "output")
    assert cell.edges == ((0, 1), (0, 2), (0, 4), (1, 3), (1, 5), (2, 6), (3, 6), (4, 7), (5, 7), (6, 7))
    chain = macro.cell_graph(macro.parse("64-1234-basic"))
    assert chain.ops == ("input", "normal", "channels_x2", "resolution_/2", "channels_x2_resolution_/2", "output")
    assert chain.pruned() == chain


def test_unknown_tasks_are_refused() -> None:
    with pytest.raises(cgir.SpecError, match="task='depth'; expected one of 'class_object'"):
        spaces.get("transnas_micro", task="depth")


@pytest.mark.parametrize("name", ["transnas_micro", "transnas_macro"])
def test_graphs_are_the_traced_networks(name: str) -> None:
    check_traces(spaces.get(name), 12, seed=1)
