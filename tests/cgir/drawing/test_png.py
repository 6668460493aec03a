"""PNG files hold what the SVG does; names of files promise what is in them."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cgir_samples import random_graph, resnet50, small_graph

import cgir
from cgir.drawing import Importance, to_html, to_png, to_svg

images = pytest.importorskip("PIL.Image")


def test_boxes_are_where_the_svg_has_them(tmp_path: Path) -> None:
    graph = resnet50()
    rng = np.random.default_rng(0)
    importance = Importance(rng.normal(size=len(graph)), rng.normal(size=graph.num_edges), "masks $a_1$")
    for options in ({}, {"full": True}, {"importance": importance}):
        to_svg(graph, tmp_path / "g.svg", **options)
        to_png(graph, tmp_path / "g.png", **options)
        root = ElementTree.parse(tmp_path / "g.svg").getroot()
        left, top, width, height = map(float, root.get("viewBox", "").split())
        picture = images.open(tmp_path / "g.png").convert("RGB")
        scale = picture.width / width
        assert picture.height == pytest.approx(height * scale, rel=2e-3)
        boxes = [box for box in root.iter("{http://www.w3.org/2000/svg}rect") if box.get("rx")]
        assert boxes
        for box in boxes:
            x, y = (float(box.get(key, "")) for key in ("x", "y"))
            at = int((x + 6 - left) * scale), int((y + 5 - top) * picture.height / height)  # beside the text
            assert "#{:02x}{:02x}{:02x}".format(*picture.getpixel(at)) == box.get("fill")


@pytest.mark.parametrize("graph", [small_graph(), random_graph(np.random.default_rng(0), 0)], ids=["small", "inputs"])
def test_any_graph_can_be_drawn(tmp_path: Path, graph: cgir.Graph) -> None:
    to_png(graph, tmp_path / "g.PNG")
    assert (tmp_path / "g.PNG").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_an_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(cgir.CgirError, match=r"PNG is drawn by matplotlib, .* pip install matplotlib, or write \.svg"):
        to_png(small_graph(), tmp_path / "g.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("write", "name"), [(to_svg, "g.png"), (to_html, "g.svg"), (to_png, "g.svg"), (to_svg, "g")])
def test_a_name_that_promises_another_format_is_refused(
    tmp_path: Path, write: Callable[[cgir.Graph, Path], None], name: str
) -> None:
    with pytest.raises(cgir.CgirError, match=r"the name of a drawing .*; expected"):
        write(small_graph(), tmp_path / name)
    assert not list(tmp_path.iterdir())
