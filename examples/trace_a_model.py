"""Any PyTorch module as a graph of primitive operators: sizes, costs, a drawing.

python examples/trace_a_model.py
"""

from pathlib import Path

import torch
from torch import Tensor, nn

import cgir
import frontends


class Block(nn.Module):
    """Squeeze-and-excitation, written by hand."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.squeeze, self.excite = nn.Conv2d(channels, channels // 4, 1), nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        y = self.conv(x)
        gate = self.excite(nn.functional.silu(self.squeeze(y.mean((2, 3), keepdim=True))))
        result: Tensor = x + y * torch.sigmoid(gate)
        return result


def main(folder: Path = Path("runs/examples")) -> None:
    """Trace, look, save, load, compare."""
    folder.mkdir(parents=True, exist_ok=True)
    graph = frontends.trace(nn.Sequential(Block(16), Block(16)), input_shape=(1, 16, 32, 32), name="two blocks")
    print(graph)
    print(graph.report())
    graph.to_html(folder / "two_blocks.html")
    graph.save(folder / "two_blocks.json")
    other = frontends.trace(nn.Sequential(Block(16), Block(16), nn.Dropout()), input_shape=(8, 16, 32, 32))
    print("isomorphic:", cgir.isomorphic(cgir.load(folder / "two_blocks.json"), other))


if __name__ == "__main__":
    main()
