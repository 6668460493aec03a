"""Take the pictures of pages: `python docs/images/screenshots.py`; needs Chromium and Pillow."""

from __future__ import annotations

import io
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "helpers"))

from browser import Browser, browser

from cgir.drawing import diff_to_html, to_html
from frontends import spaces

HERE = Path(__file__).resolve().parent
CELL = "|nor_conv_3x3~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"


def take(page: Browser, source: Path, name: str, code: str, dark: bool = False) -> None:
    """One picture, in few colours, after the page did something.

    Args:
        page: a browser.
        source: the page's file.
        name: of the picture.
        code: JavaScript.
        dark: whether the reader's system is dark.
    """
    page.open(source, 1100, 720, dark)
    page.run(code)
    page.frames()
    with tempfile.TemporaryDirectory() as folder:
        page.screenshot(Path(folder) / "page.png")
        picture = Image.open(io.BytesIO((Path(folder) / "page.png").read_bytes()))
        picture.convert("RGB").quantize(160).save(HERE / f"{name}.png", optimize=True)


def main() -> None:
    """Take both pictures: a network of NAS-Bench-201, and what another operation changes in it."""
    space = spaces.get("nasbench201")
    graph = space.graph(space.parse(CELL))
    other = space.graph(space.parse(CELL.replace("nor_conv_1x1", "nor_conv_3x3")))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, browser(Path(folder) / "profile") as page:
        to_html(graph, Path(folder) / "graph.html")
        conv = next(i for i, node in enumerate(graph.nodes) if node.op == "Conv" and node.module.startswith("cell0"))
        choose = "(s => { s.value = 'flops'; s.dispatchEvent(new Event('change')) })(document.querySelector('select'))"
        code = f"page.go({conv}); {choose}; page.view.fit(false)"
        take(page, Path(folder) / "graph.html", "graph_page", code)
        diff_to_html(graph, replace(other, name="with another operation"), Path(folder) / "diff.html")
        take(page, Path(folder) / "diff.html", "diff_page", "pages.forEach(p => p.view.zoom(0.8))", dark=True)


if __name__ == "__main__":
    main()
