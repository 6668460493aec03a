"""A drawing as PNG: matplotlib draws the elements that `svg` writes; it reads no other SVG."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgir.errors import CgirError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SVG = "{http://www.w3.org/2000/svg}"
INCH = 96.0  # pixels of SVG
DENSITY, LARGEST = 192.0, 16_000.0  # pixels an inch, and in a row or column of a large drawing
FONT = 0.66  # points of the font for a pixel, whose letters are wider than those of Helvetica
STROKES = {"e": ("#777777", 1.2), "m": ("#bbbbbb", 1.0), "r": ("#555555", 1.5)}  # the classes of `svg.STYLE`


def write_png(text: str, path: Path) -> None:
    """Write a drawing of `svg.svg` as PNG.

    Raises:
        CgirError: matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise CgirError(
            f"{path}: PNG is drawn by matplotlib, which is not installed; pip install matplotlib, or write .svg"
        ) from error
    root = ElementTree.fromstring(text)
    left, top, width, height = map(float, root.get("viewBox", "").split())
    density = min(DENSITY, LARGEST * INCH / max(width, height))
    figure = Figure(figsize=(width / INCH, height / INCH), dpi=density)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(left, left + width)
    axes.set_ylim(top + height, top)
    axes.set_axis_off()
    drawn = {f"{SVG}rect": _rect, f"{SVG}path": _path, f"{SVG}text": _text}
    for defs in root.findall(f"{SVG}defs"):
        root.remove(defs)
    for depth, element in enumerate(root.iter()):
        if draw := drawn.get(element.tag):
            draw(axes, element, depth)
    FigureCanvasAgg(figure)
    figure.savefig(path, format="png", dpi=density)


def _style(element: ElementTree.Element) -> dict[str, str]:
    pairs = (part.partition(":") for part in element.get("style", "").split(";") if part)
    return {name: value for name, _, value in pairs}


def _rect(axes: Axes, element: ElementTree.Element, depth: int) -> None:
    from matplotlib.patches import FancyBboxPatch

    x, y, width, height, r = (float(element.get(key, "0")) for key in ("x", "y", "width", "height", "rx"))
    edge = _style(element).get("stroke", "#888888")
    shape = f"round,pad={r},rounding_size={r}" if r else "square,pad=0"
    box = FancyBboxPatch((x + r, y + r), width - 2 * r, height - 2 * r, boxstyle=shape, zorder=depth)
    box.set(facecolor=element.get("fill"), edgecolor=edge, linewidth=72 / INCH)
    axes.add_patch(box)


def _path(axes: Axes, element: ElementTree.Element, depth: int) -> None:
    from matplotlib.patches import PathPatch, Polygon

    style, (color, width) = _style(element), STROKES.get(element.get("class", ""), ("none", 0.0))
    stroke = style.get("stroke", element.get("stroke", color))
    line = float(style.get("stroke-width", element.get("stroke-width", width)))
    fill = "none" if element.get("class") in STROKES else element.get("fill", "none")
    path = _outline(element.get("d", ""))
    axes.add_patch(PathPatch(path, fc=fill, ec=stroke, lw=line * 72 / INCH, fill=fill != "none", zorder=depth))
    if element.get("marker-end"):  # edges end downwards
        x, y = path.vertices[-1]
        axes.add_patch(Polygon([(x - 3, y - 6), (x + 3, y - 6), (x, y)], fc=stroke, ec="none", zorder=depth))


def _outline(text: str) -> Any:
    """The path of M, L, C, H, V, h, v and z, all that drawings have."""
    from matplotlib.path import Path as Outline

    x = y = 0.0
    points, codes = [], []
    for command, rest in re.findall(r"([MLCHVhvz])([^A-Za-z]*)", text):
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", rest)]
        if command in "MLC":
            pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
            codes += [{"M": Outline.MOVETO, "L": Outline.LINETO, "C": Outline.CURVE4}[command]] * len(pairs)
            points += pairs
            x, y = pairs[-1]
            continue
        if command != "z":
            by = numbers[0]
            x, y = {"H": (by, y), "V": (x, by), "h": (x + by, y), "v": (x, y + by)}[command]
        codes.append(Outline.CLOSEPOLY if command == "z" else Outline.LINETO)
        points.append((x, y))
    return Outline(points, codes)


def _text(axes: Axes, element: ElementTree.Element, depth: int) -> None:
    anchor = {"end": "right", "start": "left"}.get(_style(element).get("text-anchor", ""), "center")
    axes.text(
        float(element.get("x", "0")),
        float(element.get("y", "0")),
        (element.text or "").replace("$", r"\$"),
        fontsize=FONT * float(element.get("font-size", "11")),
        color=element.get("fill", "#000000"),
        weight=element.get("font-weight", "normal"),
        rotation=90 if element.get("transform") else 0,
        rotation_mode="anchor",
        ha=anchor,
        va="baseline",
        zorder=depth,
        clip_on=True,
    )
