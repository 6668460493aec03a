"""The page of a graph in a real browser: what is seen, what a click and a key do, hostile names, large graphs."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Browser
from cgir_samples import random_graph, resnet50, small_graph

from benchmarks.large_graphs import FAMILIES
from cgir.drawing.export import to_html
from cgir.drawing.importance import Importance, relative_luminance
from cgir.graph import Graph

MAX_ELEMENTS = 3_000  # in the document, however large the graph
COUNT = "document.querySelectorAll('*').length"
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u2028\x00{{}}"


def show(tab: Browser, graph: Graph, folder: Path, address: str = "", **options: Any) -> None:
    to_html(graph, folder / "g.html", **options)
    tab.open(f"{(folder / 'g.html').as_uri()}{address}", height=1800)


def shown(tab: Browser) -> list[str]:
    """Titles of the boxes on the screen, and of open blocks."""
    names: list[str] = tab.run("[...document.querySelectorAll('[data-item] .title')].map(t => t.textContent)")
    return names


def panel(tab: Browser) -> str:
    return str(tab.run("document.querySelector('aside').innerText"))


def item(name: str) -> str:
    """Code that finds the box or open block whose title this is."""
    titles = "[...document.querySelectorAll('[data-item] .title')]"
    return f"{titles}.find(t => t.textContent === {json.dumps(name)}).closest('[data-item]')"


def click(tab: Browser, name: str, inside: str = "text", count: int = 1) -> None:
    place = f"{item(name)}.querySelector('{inside}').getBoundingClientRect()"
    tab.click(*tab.run(f"(b => [b.x + b.width / 2, b.y + b.height / 2])({place})"), count)


def test_blocks_open_in_place_and_close(tab: Browser, tmp_path: Path) -> None:
    show(tab, resnet50(), tmp_path, depth=1)
    first, layers = ["Input", "Conv 7x7 /2", "BatchNorm", "ReLU", "MaxPool 3x3 /2"], [f"layer{i}" for i in range(1, 5)]
    assert shown(tab) == [*first, *layers, "GlobalAvgPool", "Linear", "Output"]
    click(tab, "layer1", ".toggle")
    assert shown(tab)[:4] == ["layer1", "Input", "Conv 7x7 /2", "BatchNorm"]  # names of open blocks come first
    assert {"layer1.0", "2 \u00d7 layer1.1 .. 2", "layer2"} < set(shown(tab))
    click(tab, "layer1.0", "text", 2)
    assert shown(tab).count("Add") == 1
    click(tab, "layer1", ".toggle")
    assert "Add" not in shown(tab)
    assert len(shown(tab)) == 12
    assert tab.problems == []


def test_what_is_chosen_is_described(tab: Browser, tmp_path: Path) -> None:
    graph = resnet50()
    show(tab, graph, tmp_path, depth=1)
    assert "25,557,032" in panel(tab)
    assert f"{graph.flops:,}" in panel(tab)
    click(tab, "Conv 7x7 /2")
    lines = panel(tab).splitlines()
    pairs = dict(pairwise(lines))
    assert pairs["shape"] == "64x112x112"
    assert pairs["kernel"] == "(7,7)"
    assert f"parameters\n{64 * 3 * 7 * 7:,} (0.0 %)\n" in panel(tab)
    assert pairs["FLOPs"] == f"{2 * 64 * 112 * 112 * 3 * 7 * 7:,} (2.9 %)"
    assert "1.0" in pairs  # the parameter's name
    click(tab, "layer1")
    lines = panel(tab).splitlines()
    pairs = dict(pairwise(lines))
    assert pairs["nodes"] == str(sum(node.module.startswith("layer1") for node in graph.nodes))
    assert pairs["Conv"] == str(sum(node.module.startswith("layer1") and node.op == "Conv" for node in graph.nodes))
    assert tab.problems == []


def test_every_edge_of_open_blocks_ends_at_its_boxes(tab: Browser, tmp_path: Path) -> None:
    """With all blocks open, the lines of a node lead from it to its readers, through the rims of blocks."""
    for graph in (resnet50(), random_graph(np.random.default_rng(0), 60)):
        show(tab, graph, tmp_path, full=True)
        missing = tab.run("""(() => {
            const {model, view: {scene}} = page, lost = [];
            for (let node = 0; node < model.size; node++) {
                const place = scene.place(node), middle = place.x + place.width / 2;
                const ends = scene.edgesOf(node).map(({layout, segment, x, y}) => pathOf(layout, segment, x, y));
                const above = ends.some(e => Math.abs(e.x1 - middle) < 1 && Math.abs(e.y2 - place.y) < 1);
                const below = ends.some(e => Math.abs(e.x0 - middle) < 1);
                const reads = model.data.inputs[node].length > 0, isRead = model.readers[node].length > 0;
                if (above !== reads || below < isRead) lost.push(node);
            }
            return lost;
        })()""")
        assert missing == []


def test_boxes_lie_in_their_blocks_apart_and_below_what_they_read(tab: Browser, tmp_path: Path) -> None:
    graph = random_graph(np.random.default_rng(1), 60)
    show(tab, graph, tmp_path, full=True)
    items, parents = tab.run("[page.model.blocks.map(b => b.items), [...page.model.parent]]")
    places = [(p["x"], p["y"], p["width"], p["height"]) for p in tab.run(
        "Array.from({length: page.model.count}, (_, id) => page.view.scene.place(id))")]  # fmt: skip
    for inside in items:
        boxes = [places[id] for id in inside]
        for number, (x, y, width, height) in enumerate(boxes):
            left, top, wide, high = places[parents[inside[number]]]
            assert left <= x
            assert x + width <= left + wide
            assert top <= y
            assert y + height <= top + high
            assert all(x + width <= a or a + b <= x or y + height <= c or c + d <= y for a, c, b, d in boxes[:number])
    for index, node in enumerate(graph.nodes):
        assert all(places[source][1] + places[source][3] < places[index][1] for source in node.inputs)


def test_search_finds_operators_names_and_modules(tab: Browser, tmp_path: Path) -> None:
    graph = resnet50()
    show(tab, graph, tmp_path, depth=1)
    tab.press("/")
    tab.type("conv layer3.2")
    expected = [i for i, node in enumerate(graph.nodes) if node.op == "Conv" and node.module == "layer3.2"]
    assert tab.run("document.querySelector('.count').textContent") == f"{len(expected)} found"
    assert tab.run("document.querySelectorAll('.results li').length") == len(expected)
    pale = tab.run("[...document.querySelectorAll('.item.dim .title')].map(t => t.textContent)")
    assert "layer2" in pale
    assert "layer3" not in pale  # what is found is in it
    tab.press("Enter", "Enter")
    assert tab.run("page.view.selected") == expected[1]
    assert tab.run("page.view.scene.isVisible(page.view.selected)")
    tab.press("Escape")
    assert tab.run("document.querySelectorAll('.dim').length") == 0
    assert tab.problems == []


def test_the_keyboard_does_all_that_the_mouse_does(tab: Browser, tmp_path: Path) -> None:
    graph = resnet50()
    show(tab, graph, tmp_path, depth=1)
    chosen = "page.view.selected === null ? '' : page.model.label(page.view.selected)"
    for keys, name in (
        (["ArrowDown"], "Input"), (["ArrowDown"] * 5, "layer1"), (["Enter", "ArrowDown"], "layer2"),
        (["ArrowUp"], "2 \u00d7 layer1.1 .. 2"), (["Escape"], "layer1"), (["Enter"], "layer1"), (["Escape"], ""),
    ):  # fmt: skip
        tab.press(*keys)
        assert tab.run(chosen) == name
    before = tab.run("page.view.at.k")
    tab.press("+")
    assert tab.run("page.view.at.k") > before
    tab.press("e")
    assert tab.run("page.view.scene.open.size") == tab.run("page.model.blocks.length")
    tab.press("0")
    assert tab.run("page.view.scene.bounds().height * page.view.at.k <= page.view.size.height")
    tab.press("c")
    assert tab.run("page.view.scene.open.size") == 1
    assert tab.problems == []


def test_neighbours_of_a_row_are_reached_by_keys(tab: Browser, tmp_path: Path) -> None:
    graph = resnet50()
    reader = next(reader for reader in graph.consumers if len(reader) == 2)[0]  # of what a block with a shortcut reads
    show(tab, graph, tmp_path, f"#node={reader}")
    row = []
    for key in ("ArrowLeft", "ArrowRight", "ArrowRight"):
        tab.press(key)
        row.append(tab.run("page.view.selected"))
    assert len(set(row)) == 2
    assert set(row) == set(graph.consumers[graph.nodes[reader].inputs[0]])


def test_addresses_lead_to_nodes_and_blocks(tab: Browser, tmp_path: Path) -> None:
    show(tab, resnet50(), tmp_path, "#node=100")
    assert tab.run("page.view.selected") == 100
    assert resnet50().nodes[100].module in panel(tab)
    show(tab, resnet50(), tmp_path, "#block=layer3.2")
    assert panel(tab).startswith("layer3.2")
    tab.press("Escape")
    assert tab.run("location.hash").startswith("#block=layer3")
    tab.run("location.hash = '#node=7'")
    tab.wait("page.view.selected === 7")
    for wrong in ("#node=9999", "#node=-1", "#block=nothing", "#node=<b>", "#"):
        show(tab, resnet50(), tmp_path, wrong)
        assert tab.run("page.view.selected") is None
    assert tab.problems == []


def test_colours_say_what_costs_most(tab: Browser, tmp_path: Path) -> None:
    graph = resnet50()
    show(tab, graph, tmp_path, depth=1)
    pairs = "[...document.querySelectorAll('.item')].map(g => [g.dataset.item, g.querySelector('.box').classList[1]])"
    fills = f"Object.fromEntries({pairs})"
    for mode, values in (("flops", "page.model.flops"), ("params", "page.model.params")):
        tab.run(
            f"(s => {{ s.value = '{mode}'; s.dispatchEvent(new Event('change')) }})(document.querySelector('select'))"
        )
        tab.frames()
        steps = {int(id): int(step[1:]) for id, step in tab.run(fills).items()}
        costs = tab.run(f"[...{values}]")
        assert max(steps.values()) == 20
        ordered = sorted(steps, key=lambda id: costs[id])
        assert [steps[id] for id in ordered] == sorted(steps.values())
        assert ("FLOPs" if mode == "flops" else "parameters") in tab.run("document.querySelector('.legend').innerText")


def test_importance_of_a_block_is_that_of_the_strongest_inside(tab: Browser, tmp_path: Path) -> None:
    graph = resnet50()
    nodes, edges = np.zeros(len(graph)), np.zeros(graph.num_edges)
    nodes[50], nodes[51], edges[60] = -2.0, 1.0, 0.5
    show(tab, graph, tmp_path, depth=1, importance=Importance(nodes, edges, "occlusion"))
    legend = tab.run("document.querySelector('.legend').innerText")
    assert "occlusion; blue raises the score, red lowers it" in legend
    assert "-2.00" in legend
    assert tab.run(f"{item('layer2')}.querySelector('.box').classList.contains('n20')")
    tab.run("page.go(51)")
    tab.frames()
    assert tab.run("document.querySelector('[data-item=\"51\"] .box').classList.contains('s10')")
    assert tab.run("[...document.querySelectorAll('.edge')].some(e => e.classList.contains('s20'))")


def colors(tab: Browser, code: str) -> list[str]:
    """Colours that the browser computes, as #rrggbb."""
    found = tab.run(f"[{code}].flat().map(e => getComputedStyle(e).fill)")
    numbers = [[float(number) for number in re.findall(r"[\d.]+", text)][:3] for text in found]
    return [
        "#" + "".join(f"{round(n * (255 if 'srgb' in t else 1)):02x}" for n in rgb)
        for rgb, t in zip(numbers, found, strict=True)
    ]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_stands_out_from_every_fill(tab: Browser, tmp_path: Path, dark: bool) -> None:
    """Contrast of at least 4.5 to 1, as WCAG 2.2 asks for."""
    to_html(small_graph(), tmp_path / "g.html")
    tab.open(tmp_path / "g.html", dark=dark)
    names = [f"{letter}{step}" for letter in "sn" for step in range(21)] + ["d-same", "d-changed", "d-only"]
    names += [f"k-{name}" for name in tab.run("[...new Set(page.model.data.kinds.map(k => k.category))]")] + [
        "k-opaque",
        "k-control",
        "k-no_category",
    ]
    pair = "[svgEl('rect', {class: `box ${name}`}), textEl('x', 0, 0, `title on-${name}`)]"
    tab.run(f"page.view.world.append(...(window.made = {json.dumps(names)}.map(name => {pair})).flat())")
    found = colors(tab, "...window.made.flat()")
    for name, fill, text in zip(names, found[::2], found[1::2], strict=True):
        high, low = sorted((relative_luminance(fill), relative_luminance(text)), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, (name, fill, text)


def test_hostile_names_stay_text(tab: Browser, tmp_path: Path) -> None:
    graph = small_graph()
    graph = replace(
        graph.with_nodes(
            replace(node, name=HOSTILE, module=f"{HOSTILE}.{i % 2}") for i, node in enumerate(graph.nodes)
        ),
        name=HOSTILE,
    )
    importance = Importance(np.arange(len(graph)), np.arange(graph.num_edges), HOSTILE)
    for options in ({}, {"full": True}, {"depth": 1}, {"importance": importance}):
        show(tab, graph, tmp_path, **options)
        tab.run("page.openAll(true); page.search.input.value = 'script'; page.search.run(); page.search.choose(0)")
        tab.frames()
        assert tab.run(
            "[document.scripts.length, document.images.length, document.querySelectorAll('img, iframe').length]"
        ) == [2, 0, 0]
        assert "<img src=x onerror=alert(2)>" in panel(tab)
        assert tab.problems == []


def test_nothing_else_may_run_or_be_loaded(tab: Browser, tmp_path: Path) -> None:
    """The page's policy refuses scripts and pictures that come into it: without it this test fails."""
    show(tab, small_graph(), tmp_path)
    tab.run("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.broken = 1'}))")
    tab.run("document.body.append(Object.assign(new Image(), {src: 'data:image/gif;base64,R0lGODlhAQABAAAAACw='}))")
    tab.frames()
    assert tab.run("window.broken") is None
    assert sum("Content Security Policy" in problem for problem in tab.problems) == 2


@pytest.mark.parametrize("family", ["chain", "fan", "random DAG", "mixture of experts"])
def test_a_page_of_ten_thousand_nodes_holds_few_elements(tab: Browser, tmp_path: Path, family: str) -> None:
    graph = FAMILIES[family](10_000)
    show(tab, graph, tmp_path)
    counts = [tab.run(COUNT)]
    for act in (
        "page.openAll(true)",
        "page.view.fit()",
        "page.view.zoom(8)",
        "page.go(5000)",
        "page.view.move(-400, -3000)",
        "page.search.input.value = 'r'; page.search.run()",
    ):
        tab.run(act)
        tab.frames()
        counts.append(tab.run(COUNT))
    assert max(counts) < MAX_ELEMENTS, counts
    assert tab.run("page.view.selected") == 5000
    assert f"node\n{5000}" in panel(tab)
    assert tab.problems == []


def test_far_away_all_boxes_are_there(tab: Browser, tmp_path: Path) -> None:
    graph = resnet50()
    show(tab, graph, tmp_path, full=True)
    tab.run("page.view.fit()")
    tab.frames()
    paths = tab.run("[...document.querySelectorAll('.merged:not(.frame)')].map(p => p.getAttribute('d'))")
    assert sum(path.count("M") for path in paths) == len(graph)
    assert tab.run("document.querySelectorAll('[data-item]').length") == 0


def test_it_prints_everything(tab: Browser, tmp_path: Path) -> None:
    graph = resnet50()
    show(tab, graph, tmp_path)
    tab.run("page.openAll(true); page.go(170)")
    tab.run("page.print(); page.view.redraw()")
    tab.frames()
    assert tab.run("document.querySelectorAll('.item').length") == len(graph)
    tab.run("page.afterPrint()")
    tab.frames()
    assert tab.run("document.querySelectorAll('.item').length") < len(graph)
    assert tab.pdf().startswith(b"%PDF")
    assert tab.problems == []


@pytest.mark.parametrize(
    "graph",
    [Graph(()), Graph((), "empty"), random_graph(np.random.default_rng(0), 0)],
    ids=["nothing", "named", "inputs"],
)
def test_graphs_without_operators_have_a_page(tab: Browser, tmp_path: Path, graph: Graph) -> None:
    show(tab, graph, tmp_path)
    tab.press("ArrowDown", "Enter", "e", "0", "Escape")
    assert tab.problems == []


def test_notebooks_show_the_page_in_a_frame(tab: Browser, tmp_path: Path) -> None:
    """Twice on one page, whose own scripts have the same names."""
    graph = replace(small_graph(), name=HOSTILE)
    frame = graph._repr_html_()
    text = f"<!DOCTYPE html><body><script>const page = 1, el = 2, Model = 3</script>{frame}{frame}</body>"
    (tmp_path / "notebook.html").write_text(text, encoding="utf-8")
    tab.open(tmp_path / "notebook.html")
    assert tab.run("[document.querySelectorAll('iframe').length, document.scripts.length, page]") == [2, 1, 1]
    assert tab.problems == []
    assert FAMILIES["chain"](6000)._repr_html_().startswith("<pre>chain (module): 6,000 nodes")
