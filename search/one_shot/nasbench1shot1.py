"""NAS-Bench-1Shot1's supernets (Zela et al. 2020, section 3 and the authors' model_search; Bender et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from frontends.spaces.nasbench101.cell import CONV1X1, MAXPOOL3X3, OPS, Cell
from frontends.spaces.nasbench101.one_shot import NUM_PARENTS, NasBench1Shot1
from frontends.spaces.nasbench101.torch_network import conv_bn_relu, operation

from .choices import Choice, Picks
from .network import Supernet, batch_norm, by_batch


class NasBench1Shot1Supernet(Supernet):
    """All cells of a sub-space at once, by a mixture of operations in each vertex and weights of its parents.

    Unlike in the networks of the space, every vertex has all channels of its stack, and the cell's output is the
    concatenation of all vertices, which a 1x1 convolution before the last mean brings back to the channels of a vertex.

    Args:
        space: the sub-space and the skeleton.
        partial: K of PC-DARTS in every vertex; its weights of edges are the weights of parents that are here anyway.
        normalize: put BatchNorm behind pooling too, which convolutions have anyway.
    """

    def __init__(self, space: NasBench1Shot1, partial: int = 1, normalize: bool = False) -> None:
        super().__init__()
        self.space = space
        self.num_parents = NUM_PARENTS[space.subspace]
        self.num_vertices = len(self.num_parents) - 2  # without input and output
        deciding = [v for v, count in enumerate(self.num_parents) if count < v]  # others read all that come before
        self.deciding = dict(zip(deciding, range(self.num_vertices, self.num_vertices + len(deciding)), strict=True))
        self.groups = (len(OPS),) * self.num_vertices + tuple(deciding)
        self.choices = self._choices()
        self.stem = by_batch(conv_bn_relu(space.image[0], space.channels, 3))
        self.layers = nn.ModuleList()
        read = space.channels
        for width in (space.channels * 2**stack for stack in range(space.stacks)):
            if len(self.layers):
                self.layers.append(nn.MaxPool2d(2, 2))
            for _ in range(space.cells):
                self.layers.append(VertexCell(read, width, self.num_vertices, partial, normalize))
                read = self.num_vertices * width
        self.last = nn.Sequential(nn.ReLU(), nn.Conv2d(read, width, 1, bias=False), batch_norm(width))
        self.classifier = nn.Linear(width, space.classes)

    def _choices(self) -> tuple[Choice, ...]:
        starts = [sum(self.groups[:group]) for group in range(len(self.groups))]
        vertices = ("input", *(f"vertex {v}" for v in range(1, self.num_vertices + 1)), "output")
        operations = [
            Choice(f"operation of {vertices[v]}", OPS, tuple((starts[v - 1] + o,) for o in range(len(OPS))))
            for v in range(1, self.num_vertices + 1)
        ]
        parents = [
            Choice(
                f"parents of {vertices[v]}",
                vertices[:v],
                tuple((starts[group] + parent,) for parent in range(v)),
                self.num_parents[v],
                of_inputs=True,
            )
            for v, group in self.deciding.items()
        ]
        return (*operations, *parents)

    def forward(self, x: Tensor, mixture: Tensor) -> Tensor:
        """Images (B, C, H, W) and mixture (A,) -> logits of classes (B, classes)."""
        groups = torch.split(mixture, list(self.groups))
        operations = groups[: self.num_vertices]
        parents = [groups[self.deciding[v]] if v in self.deciding else None for v in range(1, self.num_vertices + 2)]
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x, operations, parents) if isinstance(layer, VertexCell) else layer(x)
        logits: Tensor = self.classifier(self.last(x).mean((2, 3)))
        return logits

    def spec(self, picks: Picks) -> Cell:
        """The cell of the chosen operations and parents, with conv1x1 at loose ends.

        Input and output are always connected: every vertex and the output have a parent that comes earlier.
        """
        size = len(self.num_parents)
        parents = {v: tuple(range(v)) for v in range(size)} | {v: picks[number] for v, number in self.deciding.items()}
        matrix = tuple(tuple(int(p in parents[v]) for v in range(size)) for p in range(size))
        ops = [picks[v][0] if any(matrix[v + 1]) else CONV1X1 for v in range(self.num_vertices)]
        return Cell(matrix, tuple(ops))


class VertexCell(nn.Module):
    """A directed acyclic graph of vertices, each a mixture of operations on the weighted sum of all before it.

    All of them and the output read their own 1x1 projection of the cell's input; one convolution makes these.

    Args:
        in_channels: of the cell's input.
        channels: of every vertex.
        num_vertices: between input and output.
        partial: a `partial`-th of the channels goes through the operations.
        normalize: put BatchNorm behind pooling.
    """

    def __init__(self, in_channels: int, channels: int, num_vertices: int, partial: int, normalize: bool) -> None:
        super().__init__()
        self.widths = [*[channels] * num_vertices, num_vertices * channels]
        self.project = by_batch(conv_bn_relu(in_channels, sum(self.widths), 1), affine=False)
        self.vertices = nn.ModuleList(MixedVertex(channels, partial, normalize) for _ in range(num_vertices))

    def forward(self, x: Tensor, operations: Sequence[Tensor], parents: Sequence[Tensor | None]) -> Tensor:
        """The cell's output (B, vertices * channels, H, W).

        Args:
            x: (B, in_channels, H, W).
            operations: of each vertex the mixture (3,) of its operations.
            parents: of each vertex and of the output the weights of all before it, input first; None adds them up.
        """
        *projections, direct = self.project(x).split(self.widths, 1)
        states: list[Tensor] = []
        for vertex, projection, mixture, weights in zip(
            self.vertices, projections, operations, parents[:-1], strict=True
        ):
            states.append(vertex(reduce(torch.add, _weighted([projection, *states], weights)), mixture))
        direct, *states = _weighted([direct, *states], parents[-1])
        return direct + torch.cat(states, 1)


class MixedVertex(nn.Module):
    """All operations of one vertex.

    Args:
        channels: of its input and its result.
        partial: only the first `channels // partial` of them go through the operations.
        normalize: put BatchNorm behind pooling.
    """

    def __init__(self, channels: int, partial: int, normalize: bool) -> None:
        super().__init__()
        self.active, self.partial = channels // partial, partial
        self.operations = nn.ModuleList(_operation(op, self.active, normalize) for op in range(len(OPS)))

    def forward(self, x: Tensor, mixture: Tensor) -> Tensor:
        """(B, C, H, W) and mixture (3,) -> (B, C, H, W)."""
        active = x[:, : self.active] if self.partial > 1 else x
        mixed = reduce(torch.add, _weighted([operation(active) for operation in self.operations], mixture))
        if self.partial == 1:
            return mixed
        return F.channel_shuffle(torch.cat([mixed, x[:, self.active :]], 1), self.partial)


def _operation(op: int, channels: int, normalize: bool) -> nn.Module:
    layer = by_batch(operation(op, channels), affine=False)
    return nn.Sequential(layer, batch_norm(channels, affine=False)) if normalize and op == MAXPOOL3X3 else layer


def _weighted(terms: Sequence[Tensor], weights: Tensor | None) -> list[Tensor]:
    return list(terms) if weights is None else [term * weight for term, weight in zip(terms, weights, strict=True)]
