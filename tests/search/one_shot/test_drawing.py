"""Drawings of selections: complete, readable, without overlaps."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from one_shot_samples import digits, tiny, trained_like

from cgir.errors import CgirError
from frontends.spaces.edge_cell import EDGES
from search.one_shot import Selected, select
from search.one_shot.cell_pictures import cell_pictures
from search.one_shot.choices import Choice
from search.one_shot.drawing import CHOSEN, selection_svg

SVG = "{http://www.w3.org/2000/svg}"
SUPERNETS: dict[str, tuple[str, dict[str, Any]]] = {
    "nasbench201": ("nasbench201", {}),
    "nasbench1shot1-1": ("nasbench1shot1", {"subspace": 1}),
    "nasbench1shot1-3": ("nasbench1shot1", {"subspace": 3}),
    "darts": ("darts", {}),
    "darts-partial": ("darts", {"partial": 2}),
}


@pytest.fixture(scope="module", params=list(SUPERNETS))
def found(request: pytest.FixtureRequest) -> Selected:
    name, skeleton = SUPERNETS[request.param]
    return select(trained_like(tiny(name, **skeleton)), digits(16), device="cpu")


def texts(root: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def test_every_score_is_there_and_the_chosen_are_outlined(found: Selected) -> None:
    root = ElementTree.fromstring(found.svg())
    written = texts(root)
    for choice, scores in zip(found.choices, found.scores, strict=True):
        assert choice.name in written
        assert set(choice.options) <= set(written)
        for score in scores:
            assert f"{score:.3g}" in written
    outlined = [rect for rect in root.iter(f"{SVG}rect") if rect.get("stroke") == CHOSEN]
    assert len(outlined) == sum(map(len, found.picks))


def test_cells_are_those_of_the_specification(found: Selected) -> None:
    """The edges of the pictures are those of the space's own graph of the cell, up to its other nodes."""
    pictures = cell_pictures(found.space.name, found.spec)
    root = ElementTree.fromstring(found.svg())
    arrows = [path for path in root.iter(f"{SVG}path") if path.get("marker-end")]
    assert len(arrows) == sum(len(picture.edges) + len(picture.joined) for picture in pictures)
    if found.space.name == "nasbench201":
        assert [(t, s, op) for s, t, op in pictures[0].edges] == [
            (*edge, op) for edge, op in zip(EDGES, found.spec, strict=True)
        ]
    elif found.space.name == "darts":
        for picture, pairs in zip(pictures, found.spec, strict=True):
            assert [(op, source) for source, _, op in picture.edges] == [tuple(pair) for pair in pairs]
            assert [target for _, target, _ in picture.edges] == [2, 2, 3, 3, 4, 4, 5, 5]
            assert picture.joined == (2, 3, 4, 5)
    else:
        matrix = np.zeros_like(np.array(found.spec.matrix))
        for source, target, _ in pictures[0].edges:
            matrix[source, target] = 1
        assert matrix.tolist() == [list(row) for row in found.spec.matrix]
        assert pictures[0].unused == {v for v in range(len(matrix) - 1) if not matrix[v].any()}


def test_nothing_leaves_the_picture_and_no_labels_overlap(found: Selected) -> None:
    root = ElementTree.fromstring(found.svg())
    width, height = (float(root.attrib[side]) for side in ("width", "height"))
    for group in root.iter(f"{SVG}g"):
        labels = [
            rect for rect in group.findall(f"{SVG}rect") if rect.get("fill") == "#fff" and rect.get("height") == "13"
        ]
        boxes = [tuple(float(rect.attrib[key]) for key in ("x", "y", "width", "height")) for rect in labels]
        for (x0, y0, w0, h0), (x1, y1, w1, h1) in combinations(boxes, 2):
            assert x0 + w0 <= x1 or x1 + w1 <= x0 or y0 + h0 <= y1 or y1 + h1 <= y0
    for x, y, w, h in placed(root):
        assert x >= -1
        assert x + w <= width + 1
        assert y >= -1
        assert y + h <= height + 1


def placed(element: ElementTree.Element, x: float = 0, y: float = 0) -> list[tuple[float, float, float, float]]:
    """All rectangles, where their groups put them."""
    moved = re.match(r"translate\(([-\d.]+),([-\d.]+)\)", element.get("transform", ""))
    if moved:
        x, y = x + float(moved[1]), y + float(moved[2])
    found = []
    if element.tag == f"{SVG}rect":
        corner = (x + float(element.get("x", 0)), y + float(element.get("y", 0)))
        found.append((*corner, float(element.attrib["width"]), float(element.attrib["height"])))
    for child in element:
        found += placed(child, x, y)
    return found


def test_save_writes_the_drawing(found: Selected, tmp_path: Path) -> None:
    path = tmp_path / "selected.svg"
    found.save(path)
    assert path.read_text(encoding="utf-8") == found.svg()
    with pytest.raises(CgirError, match=r"selected\.png: the drawing is an SVG file; call it .*selected\.svg"):
        found.save(path.with_suffix(".png"))
    assert [one.name for one in tmp_path.iterdir()] == ["selected.svg"]


def test_a_space_without_a_picture_has_its_scores_and_names_are_escaped() -> None:
    choice = Choice("a<b & c", ("x<y", "z"), ((0,), (1,)))
    text = selection_svg("<rule>", "", cell_pictures("own", None), [choice], [np.array([-np.inf, np.nan])], ((1,),))
    written = texts(ElementTree.fromstring(text))
    assert {"<rule>", "a<b & c", "x<y", "-inf", "nan"} <= set(written)
