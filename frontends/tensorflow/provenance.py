"""Provenance hints: how operators that TensorFlow writes for parts of a layer have computed a tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from frontends.common.tape import ProvenanceHint

from .graph_def import TFTensor
from .graph_walk import TFCall

Pairs: TypeAlias = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class ReshapeOf(ProvenanceHint):
    """A reshaped tensor: its source."""

    source: TFTensor


@dataclass(frozen=True, slots=True)
class ExpandedDim(ProvenanceHint):
    """A tensor with an axis of one element more, as one-dimensional windows need it: its source, the axis."""

    source: TFTensor
    axis: int


@dataclass(frozen=True, slots=True)
class TileOf(ProvenanceHint):
    """A tensor repeated along its axes: its source, and how often along each."""

    source: TFTensor
    multiples: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RepeatInterleaveOf(ProvenanceHint):
    """A tensor whose elements are repeated one by one along spatial axes (nearest resizing): its source."""

    source: TFTensor


@dataclass(frozen=True, slots=True)
class SpaceToBatchOf(ProvenanceHint):
    """A tensor cut into interleaved blocks, as dilated convolutions are written: its source, block sizes, padding."""

    source: TFTensor
    block: tuple[int, ...]
    padding: Pairs


@dataclass(frozen=True, slots=True)
class SpaceToBatchConv(ProvenanceHint):
    """A convolution of interleaved blocks, whose result is to be put together again: its call, and the blocks."""

    call: TFCall
    blocks: SpaceToBatchOf


@dataclass(frozen=True, slots=True)
class AtLeast(ProvenanceHint):
    """An integer that is not known, but is at least `number`."""

    number: int
