"""Module paths of networks of search spaces name cells, edges and operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from frontends import spaces

CODES = {"conv1x1": "2", "conv3x3": "3", "reduce": "1"}


@pytest.mark.parametrize("seed", range(5))
def test_edges_of_nasbench201_are_those_of_the_string(seed: int) -> None:
    space = spaces.get("nasbench201")
    spec = space.sample(np.random.default_rng(seed))
    text = space.format(spec)
    ops = {"nor_conv_3x3": "Conv", "nor_conv_1x1": "Conv", "avg_pool_3x3": "AvgPool"}
    for node in space.graph(spec).nodes:
        cell, _, edge = node.module.partition(".edge ")
        if not edge:
            continue
        assert cell.startswith("cell")
        ends, _, op = edge.partition(": ")
        source, _, target = ends.partition("->")
        assert f"{op}~{source}" in text.split("+")[int(target) - 1].split("|")
        if node.op in ("Conv", "AvgPool"):
            assert node.op == ops[op]
            assert node.attr("kernel") == (int(op[-1]),) * 2


@pytest.mark.parametrize("task", ["class_object", "jigsaw", "segmentsemantic"])
@pytest.mark.parametrize("seed", range(3))
def test_edges_of_transnas_are_those_of_the_string(task: str, seed: int) -> None:
    space = spaces.get("transnas_micro", task=task)
    spec = space.sample(np.random.default_rng(seed))
    nodes = space.format(spec).removeprefix("64-41414-").split("_")
    named = [node for node in space.graph(spec).nodes if ".edge" in node.module]
    for node in named:
        ends, _, op = node.module.partition(".edge ")[2].partition(": ")
        source, _, target = ends.partition("->")
        assert nodes[int(target) - 1][int(source)] == CODES[op]
        if node.op == "Conv" and op != "reduce":
            assert node.attr("kernel") == (int(op[-1]),) * 2
    assert named or not any(code in "23" for node in nodes for code in node)


def test_vertices_of_nasbench101_are_those_of_the_cell() -> None:
    space = spaces.get("nasbench101")
    chain = "".join(str(int(j == i + 1)) for i in range(7) for j in range(7))
    spec = space.parse(f"{chain}:00122")
    named: dict[str, set[tuple[str, Any]]] = {}
    for node in space.graph(spec).nodes:
        if ".vertex" in node.module and node.op in ("Conv", "MaxPool"):
            named.setdefault(node.module, set()).add((node.op, node.attr("kernel")))
    assert len({path.partition(".")[0] for path in named}) == 9
    kinds = {"conv3x3": ("Conv", (3, 3)), "conv1x1": ("Conv", (1, 1)), "maxpool3x3": ("MaxPool", (3, 3))}
    for path, found in named.items():
        assert kinds[path.rpartition(": ")[2]] in found
    vertices = [path.partition(".vertex ")[2] for path in named if path.startswith("cell0.")]
    assert sorted(vertices) == ["1: conv3x3", "2: conv3x3", "3: conv1x1", "4: maxpool3x3", "5: maxpool3x3"]


@pytest.mark.parametrize("seed", range(3))
def test_edges_of_darts_are_those_of_the_genotype(seed: int) -> None:
    space = spaces.get("darts")
    spec = space.sample(np.random.default_rng(seed))
    kinds = {"sep_conv": 1, "dil_conv": 2}  # dilations of their depthwise convolutions
    found = set()
    for node in space.graph(spec).nodes:
        cell, _, edge = node.module.partition(".edge ")
        if not edge:
            continue
        ends, _, op = edge.partition(": ")
        source, _, target = ends.partition("->")
        reduces = cell.endswith("(reduction)")
        assert any(
            e.op == op and e.source == int(source) for e in spec[reduces][2 * int(target) - 4 : 2 * int(target) - 2]
        )
        found.add(int(cell.removeprefix("cell").partition(" ")[0]))
        assert reduces == (
            int(cell.removeprefix("cell").partition(" ")[0]) in (space.layers // 3, 2 * space.layers // 3)
        )
        if node.op == "Conv" and node.attr("groups") > 1:
            assert node.attr("dilation")[0] == kinds[op.rpartition("_")[0]]
            assert node.attr("kernel")[0] == int(op[-1])
    assert space.layers - 1 in found


def test_blocks_of_once_for_all_are_those_of_the_spec() -> None:
    space = spaces.get("ofa_mbv3")
    spec = space.sample(np.random.default_rng(0))
    depthwise = [
        (node.module, node.attr("kernel")[0])
        for node in space.graph(spec).nodes
        if node.op == "Conv" and node.attr("groups") > 1 and node.module.startswith("stage")
    ]
    expected = []
    for stage, depth in enumerate(spec.d):
        for block in range(depth):
            kernel, expansion = spec.ks[4 * stage + block], spec.e[4 * stage + block]
            expected.append((f"stage{stage}.block{block}: kernel {kernel}, expansion {expansion}", kernel))
    assert depthwise == expected
