"""Supernets with a module for every operation on every edge, as their authors write them.

What `search.one_shot` computes by source node; tests compare the two, `benchmarks.one_shot` times them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from frontends.spaces.darts.graph_writer import STEM_MULTIPLIER, reduction_layers
from frontends.spaces.darts.torch_network import DartsFactorizedReduce, relu_conv_bn
from frontends.spaces.darts.torch_network import operation as darts_operation
from frontends.spaces.nasbench101.torch_network import conv_bn_relu
from frontends.spaces.nasbench101.torch_network import operation as vertex_operation
from frontends.spaces.nasbench201.torch_network import ReductionBlock
from frontends.spaces.nasbench201.torch_network import operation as nasbench201_operation
from search.one_shot import Supernet
from search.one_shot.network import batch_norm, by_batch

Layers = Callable[[int, int], Mapping[str, nn.Module | None]]  # of channels and stride


class MixedOperation(nn.Module):
    """All operations of an edge, with partial channels on the first `channels // partial`."""

    def __init__(self, layers: Layers, channels: int, stride: int, partial: int) -> None:
        super().__init__()
        self.active, self.partial = channels // partial, partial
        made = layers(self.active, stride)
        self.layers = nn.ModuleDict({name: layer for name, layer in made.items() if layer is not None})
        self.columns = [column for column, layer in enumerate(made.values()) if layer is not None]
        self.bypass = nn.MaxPool2d(2, 2) if stride == 2 else nn.Identity()

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """(B, C, H, W) and mixture (O,) -> (B, C, H', W')."""
        active = x[:, : self.active]
        terms = [weights[k] * layer(active) for k, layer in zip(self.columns, self.layers.values(), strict=True)]
        mixed: Tensor = reduce(torch.add, terms)
        if self.partial == 1:
            return mixed
        return shuffled(torch.cat([mixed, self.bypass(x[:, self.active :])], 1), self.partial)


def shuffled(x: Tensor, groups: int) -> Tensor:
    """Channel c of group g becomes channel c * groups + g (the authors of PC-DARTS, Xu et al. 2020)."""
    count, channels, height, width = x.shape
    return x.view(count, groups, channels // groups, height, width).transpose(1, 2).reshape(x.shape)


class PerEdgeCell(nn.Module):
    """Nodes that each sum a mixture of operations on every node before them.

    Args:
        layers: of an edge.
        num_inputs: number of input nodes.
        num_nodes: number of nodes behind them.
        channels: of every node.
        reduces: whether nodes have half the height and width of the inputs.
        partial: K of PC-DARTS.
    """

    def __init__(
        self, layers: Layers, num_inputs: int, num_nodes: int, channels: int, reduces: bool = False, partial: int = 1
    ) -> None:
        super().__init__()
        self.num_inputs, self.num_nodes = num_inputs, num_nodes
        self.edges = nn.ModuleList(
            MixedOperation(layers, channels, 2 if reduces and source < num_inputs else 1, partial)
            for target in range(num_inputs, num_inputs + num_nodes)
            for source in range(target)
        )

    def forward(self, inputs: Sequence[Tensor], weights: Tensor, edge_weights: Tensor | None = None) -> list[Tensor]:
        """All nodes, inputs included.

        Args:
            inputs: the input nodes.
            weights: (E, O) mixture of each edge's operations, by target, then source.
            edge_weights: (E,), with partial channels.
        """
        states, edge = list(inputs), 0
        for _ in range(self.num_nodes):
            terms = []
            for state in states:
                term = self.edges[edge](state, weights[edge])
                terms.append(term if edge_weights is None else edge_weights[edge] * term)
                edge += 1
            states.append(reduce(torch.add, terms))
        return states


class PerEdgeNasBench201(nn.Module):
    """NAS-Bench-201's; `supernet` gives the skeleton and the order of the mixture, not the weights.

    Args:
        supernet: its counterpart.
        partial: K of PC-DARTS.
        normalize: as there.
    """

    def __init__(self, supernet: Supernet, partial: int = 1, normalize: bool = False) -> None:
        super().__init__()
        space: Any = supernet.space
        self.operations = supernet.choices[0].options
        self.stem = by_batch(_conv_norm(space.image[0], space.channels))
        self.layers = nn.ModuleList()
        for stage, width in enumerate((space.channels, 2 * space.channels, 4 * space.channels)):
            if stage:
                self.layers.append(by_batch(ReductionBlock(width // 2, width)))
            for _ in range(space.cells):
                self.layers.append(PerEdgeCell(lambda c, s: self._layers(c, normalize), 1, 3, width, partial=partial))
        self.last = nn.Sequential(batch_norm(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.classifier = nn.Linear(width, space.classes)

    def _layers(self, channels: int, normalize: bool) -> dict[str, nn.Module | None]:
        made: dict[str, nn.Module | None] = {"none": None}
        for name in self.operations[1:]:
            layer = by_batch(nasbench201_operation(name, channels), affine=False)
            bare = name in ("skip_connect", "avg_pool_3x3") and normalize
            made[name] = nn.Sequential(layer, batch_norm(channels, affine=False)) if bare else layer
        return made

    def forward(self, x: Tensor, mixture: Tensor) -> Tensor:
        """Images (B, C, H, W) and mixture (A,) -> logits of classes (B, classes)."""
        weights = mixture[:30].view(6, 5)
        edges = mixture[30:] if len(mixture) > 30 else None
        x = self.stem(x)
        for layer in self.layers:
            x = layer([x], weights, edges)[-1] if isinstance(layer, PerEdgeCell) else layer(x)
        logits: Tensor = self.classifier(self.last(x).flatten(1))
        return logits


class PerEdgeDarts(nn.Module):
    """DARTS'; arguments as of `PerEdgeNasBench201`.

    Args:
        supernet: its counterpart.
        partial: K of PC-DARTS.
        normalize: as there.
    """

    def __init__(self, supernet: Supernet, partial: int = 1, normalize: bool = False) -> None:
        super().__init__()
        space: Any = supernet.space
        self.operations, self.normalize = supernet.choices[0].options, normalize
        widths = [STEM_MULTIPLIER * space.channels] * 2
        channels, reducing = space.channels, reduction_layers(space.layers)
        self.stem = by_batch(_conv_norm(space.image[0], widths[0]))
        self.first, self.second, self.cells = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        self.kinds = [int(number in reducing) for number in range(space.layers)]
        for number, reduces in enumerate(self.kinds):
            channels *= 1 + reduces
            first = DartsFactorizedReduce if number - 1 in reducing else _pointwise
            self.first.append(by_batch(first(widths[-2], channels), affine=False))
            self.second.append(by_batch(_pointwise(widths[-1], channels), affine=False))
            self.cells.append(PerEdgeCell(self._layers, 2, 4, channels, bool(reduces), partial))
            widths.append(4 * channels)
        self.classifier = nn.Linear(widths[-1], space.classes)

    def _layers(self, channels: int, stride: int) -> dict[str, nn.Module | None]:
        made: dict[str, nn.Module | None] = {"none": None}
        for name in self.operations[1:]:
            layer = by_batch(darts_operation(name, channels, stride), affine=False)
            bare = name.endswith("pool_3x3") or (isinstance(layer, nn.Identity) and self.normalize)
            made[name] = nn.Sequential(layer, batch_norm(channels, affine=False)) if bare else layer
        return made

    def forward(self, x: Tensor, mixture: Tensor) -> Tensor:
        """Images (B, C, H, W) and mixture (A,) -> logits of classes (B, classes)."""
        operations = [mixture[:112].view(14, 8), mixture[112:224].view(14, 8)]
        edges = [mixture[224:238], mixture[238:]] if len(mixture) > 224 else [None, None]
        before = last = self.stem(x)
        for first, second, cell, kind in zip(self.first, self.second, self.cells, self.kinds, strict=True):
            states = cell([first(before), second(last)], operations[kind], edges[kind])
            before, last = last, torch.cat(states[2:], 1)
        logits: Tensor = self.classifier(last.mean((2, 3)))
        return logits


class PerVertexCell(nn.Module):
    """NAS-Bench-1Shot1's cell, with a projection of its input for every vertex and for the output.

    Args:
        layers: of a vertex.
        in_channels: of its input.
        channels: of every vertex.
        count: of vertices.
        partial: K of PC-DARTS.
    """

    def __init__(self, layers: Layers, in_channels: int, channels: int, count: int, partial: int) -> None:
        super().__init__()
        widths = [*[channels] * count, count * channels]
        self.projections = nn.ModuleList(by_batch(conv_bn_relu(in_channels, out, 1), affine=False) for out in widths)
        self.vertices = nn.ModuleList(MixedOperation(layers, channels, 1, partial) for _ in range(count))

    def forward(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """(B, in_channels, H, W), and mixtures by the names of choices -> (B, count * channels, H, W)."""
        projected: list[Tensor] = [projection(x) for projection in self.projections]
        states: list[Tensor] = []
        for number, (own, vertex) in enumerate(zip(projected[:-1], self.vertices, strict=True), 1):
            terms = [own, *states]
            parents = weights.get(f"parents of vertex {number}", torch.ones(len(terms), dtype=x.dtype))
            total = reduce(torch.add, [weight * term for weight, term in zip(parents, terms, strict=True)])
            states.append(vertex(total, weights[f"operation of vertex {number}"]))
        out = weights["parents of output"]
        weighted = [weight * state for weight, state in zip(out, [projected[-1], *states], strict=True)]
        result: Tensor = weighted[0] + torch.cat(weighted[1:], 1)
        return result


class PerEdgeNasBench1Shot1(nn.Module):
    """NAS-Bench-1Shot1's; arguments as of `PerEdgeNasBench201`.

    Args:
        supernet: its counterpart.
        partial: K of PC-DARTS.
        normalize: as there.
    """

    def __init__(self, supernet: Supernet, partial: int = 1, normalize: bool = False) -> None:
        super().__init__()
        space: Any = supernet.space
        self.choices, self.normalize = supernet.choices, normalize
        count = sum(choice.name.startswith("operation") for choice in self.choices)
        self.stem = by_batch(conv_bn_relu(space.image[0], space.channels, 3))
        self.layers, read = nn.ModuleList(), space.channels
        for stack, width in enumerate(space.channels * 2**stack for stack in range(space.stacks)):
            if stack:
                self.layers.append(nn.MaxPool2d(2, 2))
            for _ in range(space.cells):
                self.layers.append(PerVertexCell(self._layers, read, width, count, partial))
                read = count * width
        self.last = nn.Sequential(nn.ReLU(), nn.Conv2d(read, width, 1, bias=False), batch_norm(width))
        self.classifier = nn.Linear(width, space.classes)

    def _layers(self, channels: int, _stride: int) -> dict[str, nn.Module | None]:
        pool = vertex_operation(2, channels)
        return {
            "conv3x3": by_batch(vertex_operation(0, channels), affine=False),
            "conv1x1": by_batch(vertex_operation(1, channels), affine=False),
            "maxpool3x3": nn.Sequential(pool, batch_norm(channels, affine=False)) if self.normalize else pool,
        }

    def forward(self, x: Tensor, mixture: Tensor) -> Tensor:
        """Images (B, C, H, W) and mixture (A,) -> logits of classes (B, classes)."""
        weights = {choice.name: mixture[[e for (e,) in choice.entries]] for choice in self.choices}
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x, weights) if isinstance(layer, PerVertexCell) else layer(x)
        logits: Tensor = self.classifier(self.last(x).mean((2, 3)))
        return logits


def _conv_norm(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False), nn.BatchNorm2d(out_channels))


def _pointwise(in_channels: int, out_channels: int) -> nn.Module:
    return relu_conv_bn(in_channels, out_channels, 1)
