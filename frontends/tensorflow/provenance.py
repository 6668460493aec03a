"""Provenance hints: what operators that TensorFlow writes for parts of a layer leave for the operators behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from frontends.common.tape import ProvenanceHint

from .graph_def import TFTensor
from .graph_walk import TFCall

Pairs: TypeAlias = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class ReshapeOf(ProvenanceHint):
    """A tensor in another shape: the tensor before."""

    source: TFTensor


@dataclass(frozen=True, slots=True)
class ExpandedDim(ProvenanceHint):
    """A tensor with an axis of one element more, as one-dimensional windows need it: the tensor before, the axis."""

    source: TFTensor
    axis: int


@dataclass(frozen=True, slots=True)
class TileOf(ProvenanceHint):
    """A tensor repeated along its axes: the tensor before, and how often along each."""

    source: TFTensor
    multiples: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RepeatInterleaveOf(ProvenanceHint):
    """A tensor whose elements are repeated one by one along spatial axes (nearest resizing): the tensor before."""

    source: TFTensor


@dataclass(frozen=True, slots=True)
class SpaceToBatchOf(ProvenanceHint):
    """A tensor cut into interleaved blocks, as dilated convolutions are written: before, block sizes, padding."""

    source: TFTensor
    block: tuple[int, ...]
    padding: Pairs


@dataclass(frozen=True, slots=True)
class SpaceToBatchConv(ProvenanceHint):
    """A convolution of interleaved blocks, whose result is to be put together again: its call, and what was cut."""

    call: TFCall
    blocks: SpaceToBatchOf
