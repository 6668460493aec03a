"""Layers of the plain and residual networks, as their strings name them."""

from __future__ import annotations

from typing import NamedTuple


class Block(NamedTuple):
    """Convolution without bias, BatchNorm, ReLU.

    Attributes:
        kernel: height and width, odd; padded by half of it.
        width: channels.
        stride: of the convolution.
        residual: whether the block's input is added to its result, after the ReLU.
    """

    kernel: int
    width: int
    stride: int
    residual: bool = False

    def __str__(self) -> str:
        return f"k{self.kernel}w{self.width}s{self.stride}{'r' * self.residual}"


class Layer(NamedTuple):
    """A layer of MetaQNN.

    Attributes:
        kind: "C" convolution, "P" max pooling, "FC" fully connected, "GAP" global average pooling.
        numbers: of C channels, kernel and stride; of P kernel and stride; of FC features; of GAP classes.
    """

    kind: str
    numbers: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.kind}({','.join(map(str, self.numbers))})"


class Dropout(NamedTuple):
    """Dropout with probability `number` / (2 `of`), after layer `after`, counted from 0."""

    after: int
    number: int
    of: int


def dropouts(layers: tuple[Layer, ...]) -> list[Dropout]:
    """Where MetaQNN puts dropout: after every second layer and after each fully connected one, ever more of it.

    Baker et al. 2017, section 4.2, and `add_drop_out_states` of the authors' libs/grammar/state_string_utils.py, whose
    count takes the softmax for a layer of the kind before it; all 1,000 strings of the published table follow it.
    """
    kinds = [layer.kind for layer in layers]
    num_full = kinds.count("FC") + (kinds[-1] == "FC")
    num_global = 2 * kinds.count("GAP")
    of = (len(layers) + 1 - num_global - num_full) // 2 + num_full
    places = [place for place, kind in enumerate(kinds) if kind == "FC" or (place % 2 and kind != "GAP")]
    return [Dropout(place, number, of) for number, place in enumerate(places[:of], 1)]


class ResNetSpec(NamedTuple):
    """A ResNet of depth 6 `blocks` + 2, in the order of its string.

    Attributes:
        blocks: in each of three stages.
        filters: channels of the first stage.
        kernel: height and width of the convolutions.
    """

    blocks: int
    filters: int
    kernel: int
