"""Supernets with one module per operation and edge beside ours: the same weights, the same answers, the same gradients.

The modules themselves are in benchmarks/per_edge_supernets.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.per_edge_supernets import (
    PerEdgeCell,
    PerEdgeDarts,
    PerEdgeNasBench1Shot1,
    PerEdgeNasBench201,
    PerVertexCell,
)
from search.one_shot import Supernet
from search.one_shot.choices import Picks
from search.one_shot.darts import SearchCell
from search.one_shot.darts_operations import FactorizedReduce, Separable
from search.one_shot.mixed_cell import MixedCell, Operation, ReluConvNorm
from search.one_shot.nasbench1shot1 import VertexCell

PER_EDGE = {"nasbench201": PerEdgeNasBench201, "darts": PerEdgeDarts, "nasbench1shot1": PerEdgeNasBench1Shot1}
Read = Callable[[nn.Parameter], Tensor]
Pair = tuple[Tensor, nn.Parameter]  # what is read of our parameter, and theirs


def per_edge(ours: Supernet) -> nn.Module:
    """The same supernet with one module per operation and edge, with the same weights."""
    network = PER_EDGE[ours.space.name](ours, ours.config["partial"], ours.config["normalize"])
    network = network.to(next(ours.parameters()))
    found = pairs(ours, network, lambda parameter: parameter.detach())
    assert {id(theirs) for _, theirs in found} == {id(parameter) for parameter in network.parameters()}
    assert sum(values.numel() for values, _ in found) == sum(parameter.numel() for parameter in ours.parameters())
    with torch.no_grad():
        for values, theirs in found:
            theirs.copy_(values)
    return network


def pairs(ours: Supernet, theirs: nn.Module, read: Read) -> list[Pair]:
    """For every parameter of the supernet by edges, the part of ours that it equals."""
    mine, other = dict(ours.named_modules()), dict(theirs.named_modules())
    result: list[Pair] = []
    for name in sorted({"stem", "last", "classifier"} & set(mine)):
        result += _in_order(mine[name], other[name], read)
    if ours.space.name == "nasbench201":
        for mine_layer, other_layer in zip(ours.layers, theirs.layers, strict=True):
            is_cell = isinstance(mine_layer, MixedCell)
            result += (cell_pairs if is_cell else _in_order)(mine_layer, other_layer, read)
    elif ours.space.name == "darts":
        for mine_cell, first, second, other_cell in zip(
            ours.cells, theirs.first, theirs.second, theirs.cells, strict=True
        ):
            assert isinstance(mine_cell, SearchCell)
            result += _in_order(mine_cell.preprocess, nn.ModuleList([first, second]), read)
            result += cell_pairs(mine_cell.mixed, other_cell, read)
    else:
        cells = [layer for layer in ours.layers if isinstance(layer, VertexCell)]
        others = [layer for layer in theirs.layers if isinstance(layer, PerVertexCell)]
        for mine_cell, other_cell in zip(cells, others, strict=True):
            parts = read(mine_cell.project[0].weight).split(mine_cell.widths)
            result += zip(parts, other_cell.projections.parameters(), strict=True)
            result += _in_order(mine_cell.vertices, other_cell.vertices, read)
    return result


def _in_order(ours: nn.Module, theirs: nn.Module, read: Read) -> list[Pair]:
    return list(zip(map(read, ours.parameters()), theirs.parameters(), strict=True))


def cell_pairs(ours: MixedCell, theirs: PerEdgeCell, read: Read) -> Iterator[Pair]:
    """Of one cell."""
    for source, outgoing in enumerate(ours.outgoing):
        for number, edge in enumerate(ours.rows[source]):
            for name, operation in outgoing.operations.items():
                parts = _parts(operation, number, read)
                yield from zip(parts, theirs.edges[edge].layers[name].parameters(), strict=True)


def _parts(operation: Operation, number: int, read: Read) -> list[Tensor]:
    """Weights of one target of an operation."""
    if isinstance(operation, ReluConvNorm):
        targets = operation.conv.out_channels // operation.conv.in_channels
        return [read(operation.conv.weight).chunk(targets)[number]]
    if isinstance(operation, FactorizedReduce):
        both = (operation.conv_1, operation.conv_2)
        return [read(conv.weight).chunk(operation.targets)[number] for conv in both]
    if not isinstance(operation, Separable):
        return []
    targets = operation.targets
    parts = [read(operation.depthwise.weight).unflatten(0, (-1, targets))[:, number]]
    parts.append(read(operation.pointwise.weight).chunk(targets)[number])
    if operation.again is not None:
        parts += [read(conv.weight).chunk(targets)[number] for conv in (operation.again[2], operation.again[3])]
    return parts


def random_picks(ours: Supernet, seed: int) -> Picks:
    """Any options of every choice, but for those that no specification has."""
    rng, picks = np.random.default_rng(seed), []
    for choice in ours.choices:
        allowed = [option for option, name in enumerate(choice.options) if name not in choice.never]
        picks.append(tuple(sorted(rng.choice(allowed, choice.num_chosen, replace=False).tolist())))
    return tuple(picks)


def decided(ours: Supernet, picks: Picks) -> Tensor:
    """The mixture with weight 1 of what is chosen, and 0 of what is not."""
    mixture = ours.mix(torch.zeros(ours.num_weights)).to(next(ours.parameters()))
    for choice, chosen in zip(ours.choices, picks, strict=True):
        mixture = choice.decided(mixture, chosen)
    return mixture
