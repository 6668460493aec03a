"""Draw the pictures of the documentation: `python docs/images/draw.py`."""

from __future__ import annotations

import io
import re
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import frontends
import search
from cgir import Graph
from cgir.drawing import to_svg
from encoders import Predictor
from frontends import spaces, tables

HERE = Path(__file__).resolve().parent
SIZE = re.compile(r'width="([\d.]+)" height="([\d.]+)"')
GAP, TITLE = 40, 30


class Attention(torch.nn.Module):
    """Self-attention as it is often written by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = torch.nn.LayerNorm(64), torch.nn.Linear(64, 192), torch.nn.Linear(64, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One block: (B, T, 64) -> (B, T, 64)."""
        batch, length, width = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(batch, length, 3, 4, 16).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) / 4).softmax(-1)
        return x + self.out((weights @ v).transpose(1, 2).reshape(batch, length, width))


def drawn(graph: Graph) -> str:
    """The SVG of a graph with all its nodes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.svg"
        to_svg(graph, path, full=True)
        return path.read_text(encoding="utf-8")


def beside(pictures: dict[str, str]) -> str:
    """SVG pictures side by side, with a title each, on white."""
    x, parts, height = 0.0, [], 0.0
    for title, svg in pictures.items():
        size = SIZE.search(svg)
        assert size is not None
        width, tall = float(size[1]), float(size[2])
        parts.append(f'<text x="{x + 12:.0f}" y="20" font-family="sans-serif" font-size="15">{title}</text>')
        parts.append(svg.replace("<svg ", f'<svg x="{x:.0f}" y="{TITLE}" ', 1))
        x, height = x + width + GAP, max(height, tall)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{x - GAP:.0f}" height="{height + TITLE:.0f}" '
        f'viewBox="0 0 {x - GAP:.0f} {height + TITLE:.0f}"><rect width="100%" height="100%" fill="#fff"/>'
    )
    return "\n".join([head, *parts, "</svg>"]) + "\n"


def canonical() -> str:
    """What PyTorch runs, and the canonical graph of it."""
    inputs = torch.zeros(1, 16, 64, device="meta")
    raw, graph = (frontends.trace(Attention(), inputs, raw=raw) for raw in (True, False))
    return beside({f"as recorded: {len(raw)} nodes": drawn(raw), f"as a graph of cgir: {len(graph)}": drawn(graph)})


def cell() -> str:
    """A network of NAS-Bench-201 with one cell a stage."""
    space = spaces.get("nasbench201", cells=1)
    text = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cell.svg"
        to_svg(space.graph(space.parse(text)), path)
        return path.read_text(encoding="utf-8")


def explained() -> str:
    """What raises and what lowers the score of the network that is predicted to be the best."""
    table = tables.load("digits").family("nasbench_macro")
    networks, accuracy = table.space.graphs(table.specs), table["accuracy"]
    process = Predictor(head="gp").fit(networks, accuracy, pool=networks)
    best = table.space.graph(table.specs[int(np.argmax(process.predict(networks)))])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "explained.svg"
        process.explain(best).to_svg(path, depth=1)
        return path.read_text(encoding="utf-8")


def searched() -> str:
    """What a search of forty queries found among networks that were trained before."""
    table = tables.load("digits").family("nasbench201")
    accuracy = dict(zip(table.specs, table["accuracy"], strict=True))
    space = search.ListedSpace(table.space, table.specs)
    history = search.evolve(
        space, Predictor(head="gp"), accuracy.get, 40, objectives=["accuracy", "-flops"], progress=False
    )
    values, flops, front = history.values, history.column("flops") / 1e6, history.front()
    plt.rcParams.update({"svg.hashsalt": "cgir", "svg.fonttype": "none", "font.size": 9})
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained")
    left.plot(np.arange(1, 41), values, ".", color="#2b6cb0", label="answers")
    left.step(np.arange(1, 41), history.running_best, where="post", color="#e66100", label="best so far")
    left.set(xlabel="networks asked", ylabel="accuracy", ylim=(max(values.min(), 0.85), None))
    right.plot(flops, values, ".", color="#2b6cb0", label="answers")
    right.plot(flops[front], values[front], "o", color="#e66100", label="best trade-offs")
    right.set(xlabel="MFLOPs", ylabel="accuracy", ylim=left.get_ylim())
    for axes in (left, right):
        axes.legend(frameon=False, loc="lower right")
        axes.spines[["top", "right"]].set_visible(False)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


if __name__ == "__main__":
    for name, make in (
        ("canonical", canonical), ("nasbench201", cell), ("explained", explained), ("search", searched)
    ):  # fmt: skip
        (HERE / f"{name}.svg").write_text(make(), encoding="utf-8")
