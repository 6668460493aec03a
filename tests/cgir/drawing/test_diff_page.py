"""Two graphs on one page: which nodes correspond, what is coloured, and that both sides follow one another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import Browser
from cgir_samples import random_graph, resnet50, shuffled

import cgir
from cgir.analysis.node_pairs import node_pairs
from cgir.drawing import diff_to_html
from cgir.graph import Graph

CONV = next(i for i, node in enumerate(resnet50().nodes) if i > 90 and node.attr("kernel") == (3, 3))


def edited() -> Graph:
    """ResNet-50 with one other operator, and other padding of one convolution."""
    graph = resnet50()
    nodes = list(graph.nodes)
    nodes[61] = replace(nodes[61], op="Sigmoid")
    pad = tuple((key, ((2, 2), (2, 2)) if key == "padding" else value) for key, value in nodes[CONV].attrs)
    nodes[CONV] = replace(nodes[CONV], attrs=pad)
    return replace(graph, nodes=tuple(nodes), name="edited")


def test_pairs_of_an_edited_graph_are_its_nodes() -> None:
    a, b = resnet50(), edited()
    pairs = node_pairs(a, b)
    assert pairs == [(i, i) for i in range(len(a)) if i != 61]


@pytest.mark.parametrize("seed", range(5))
def test_pairs_of_isomorphic_graphs_are_of_equal_nodes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = random_graph(rng, 40)
    b = shuffled(a, rng)
    pairs = node_pairs(a, b)
    assert [i for i, _ in pairs] == list(range(len(a)))
    assert sorted(j for _, j in pairs) == list(range(len(b)))
    assert all(a.nodes[i].op == b.nodes[j].op for i, j in pairs)
    assert node_pairs(b, a) == sorted((j, i) for i, j in pairs) or len(node_pairs(b, a)) == len(a)


def test_both_sides_follow_one_another(tab: Browser, tmp_path: Path) -> None:
    a, b = resnet50(), edited()
    diff_to_html(a, b, tmp_path / "d.html")
    tab.open(tmp_path / "d.html", height=1400)
    assert tab.run("document.querySelector('.lines').innerText").endswith(cgir.diff(a, b).splitlines()[-1])
    chosen = "pages.map(p => p.view.selected)"
    assert tab.run(chosen) == [61, None]  # the first that is in one graph only
    assert tab.run("document.querySelector('[data-item=\"61\"] .box').classList.contains('d-only')")
    tab.run(f"pages[1].go({CONV})")
    assert tab.run(chosen) == [CONV, CONV]
    assert "\n((1, 1), (1, 1)) here, ((2, 2), (2, 2)) there\n" in tab.run("document.querySelector('aside').innerText")
    tab.run("pages[0].select(pages[0].named('layer3.2'))")
    tab.frames()
    assert tab.run("pages.map(p => p.model.label(p.view.selected))") == ["layer3.2", "layer3.2"]
    assert tab.problems == []


def test_isomorphic_graphs_are_all_the_same(tab: Browser, tmp_path: Path) -> None:
    diff_to_html(resnet50(), resnet50(), tmp_path / "d.html")
    tab.open(tmp_path / "d.html")
    assert "isomorphic" in tab.run("document.querySelector('.lines').innerText")
    assert tab.run("pages.map(p => p.model.data.difference.state.every(s => s === 0))") == [True, True]


def test_a_page_ends_in_html(tmp_path: Path) -> None:
    with pytest.raises(cgir.CgirError, match=r"d\.png: the name of a drawing ends in '\.png'; expected \.html"):
        diff_to_html(resnet50(), resnet50(), tmp_path / "d.png")
    assert not list(tmp_path.iterdir())
