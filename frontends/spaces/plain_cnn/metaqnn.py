"""MetaQNN (Baker et al. 2017): plain networks of up to 18 convolutions, poolings and fully connected layers.

Strings are the authors', `[C(64,5,1), P(3,2), D(1,2), C(128,3,1), SM(10)]`: convolutions (channels, kernel, stride) and
fully connected layers FC(features) with bias and ReLU, max pooling (kernel, stride), global average pooling
GAP(classes) over a convolution 1x1 with ReLU, and a linear layer SM(classes) at the end. Dropout D(i,n), of probability
i / 2n, has fixed places (`spec.dropouts`): a string may have it there or leave all of it out.

What may follow what is Baker et al.'s table 1 and their code (libs/grammar/state_enumerator.py, models/cifar10/): no
pooling first or after pooling; kernels smaller than the image; fully connected layers, at most two and not growing,
where the image has less than 8 pixels a side; after GAP only the end. Sizes of images are bucketed there to 8, 4 and 1
(at least 8, at least 4, less), and come from poolings that drop what does not fill a window. Caffe, in which the
networks were trained, keeps it, and so do these networks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from cgir.builder import GraphBuilder
from cgir.errors import SpecError
from cgir.graph import Attr
from frontends.spaces.cell import CellGraph, chain
from frontends.spaces.choices import check_text
from frontends.spaces.space import Space

from .graph_parts import dense
from .spec import Layer, dropouts

if TYPE_CHECKING:
    import torch

Spec = tuple[Layer, ...]
KERNELS, POOLS = (1, 3, 5), ((5, 3), (3, 2), (2, 2))
MOST_FULL = 2  # fully connected layers, besides the last one
MOST_LAYERS = 100


class State(NamedTuple):
    """What decides which layers may follow.

    Attributes:
        last: kind of the last layer; empty before the first one.
        layers: their number.
        size: of the image, as the authors compute it.
        full: number of fully connected layers.
        features: of the last one.
    """

    last: str
    layers: int
    size: int
    full: int = 0
    features: int = 0

    def after(self, layer: Layer) -> State:
        """The state with one layer more."""
        size, full, features = self.size, self.full, self.features
        if layer.kind == "P":
            kernel, stride = layer.numbers
            size = (size - kernel) // stride + 1
        elif layer.kind == "FC":
            full, features = full + 1, layer.numbers[0]
        return State(layer.kind, self.layers + 1, size, full, features)


@dataclass(frozen=True)
class MetaQnn(Space[Spec]):
    """`widths` are the channels of convolutions, `features` those of fully connected layers, `layers` the most."""

    name: ClassVar[str] = "metaqnn"
    widths: tuple[int, ...] = (64, 128, 256, 512)
    features: tuple[int, ...] = (512, 256, 128)
    layers: int = 18
    image: tuple[int, int, int] = (3, 32, 32)
    classes: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers > MOST_LAYERS:
            raise SpecError(f"metaqnn: layers={self.layers}; expected at most {MOST_LAYERS}")
        if min(self.image[1:]) < 4:
            raise SpecError(f"metaqnn: image={self.image}; expected height and width of at least 4")

    def parse(self, text: str) -> Spec:
        """`[C(64,5,1), .., SM(10)]` -> layers without the last one and without dropout.

        Raises:
            SpecError: not of this form, a layer that cannot stand in its place, or dropout in other places.
        """
        words = check_text(text, self.name).strip().removeprefix("[").removesuffix("]").split(", ")
        layers = [word for word in words if not word.startswith("D(")]
        if layers[-1] != self._last:
            raise SpecError(f"metaqnn: {text!r} ends with {layers[-1]!r}; expected {self._last}]")
        state, spec = self._start, list[Layer]()
        for place, word in enumerate(layers[:-1]):
            allowed = {str(layer): layer for layer in choices(self, state)}
            if word not in allowed:
                raise SpecError(
                    f"metaqnn: layer {place} of {text!r} is {word!r}; "
                    f"expected {'one of ' + ', '.join(allowed) if allowed else self._last}"
                )
            spec.append(allowed[word])
            state = state.after(spec[-1])
        if not spec:
            raise SpecError(f"metaqnn: no convolution in {text!r}; expected one as the first layer")
        if len(layers) < len(words) and self.format(tuple(spec)) != f"[{', '.join(words)}]":
            raise SpecError(f"metaqnn: dropout in other places in {text!r}; expected {self.format(tuple(spec))}")
        return tuple(spec)

    def format(self, spec: Spec) -> str:
        """`[C(64,5,1), .., SM(10)]`, with dropout."""
        words = list(map(str, spec))
        for place, number, of in dropouts(spec):
            words[place] += f", D({number},{of})"
        return f"[{', '.join([*words, self._last])}]"

    def network(self, build: GraphBuilder, spec: Spec) -> None:
        """The whole network."""
        x = build.input(self.image)
        for layer in spec:
            x = build.subgraph(_layer, x, layer)
        build.subgraph(_classifier, x, self.classes)

    def module(self, spec: Spec) -> torch.nn.Module:
        """The whole network in PyTorch."""
        from .torch_metaqnn import metaqnn_network

        return metaqnn_network(spec, self.image, self.classes)

    def sample(self, rng: np.random.Generator) -> Spec:
        """As the authors explore: each layer, or the end, uniform among what may follow.

        It is not uniform over all networks, nearly all of which have the most layers that are allowed.
        """
        state, spec = self._start, list[Layer]()
        while True:
            following = choices(self, state)
            index = int(rng.integers(len(following) + bool(spec)))
            if index == len(following):
                return tuple(spec)
            spec.append(following[index])
            state = state.after(spec[-1])

    def mutate(self, spec: Spec, rng: np.random.Generator) -> Spec:
        """A layer more, a layer less, or another one in its place, uniform among tries that the space has."""
        layers = _layers(self)
        while True:
            kind, place = int(rng.integers(3)), int(rng.integers(len(spec) + 1))
            added = () if kind == 0 else (layers[int(rng.integers(len(layers)))],)
            child = (*spec[:place], *added, *spec[place + (kind != 1) :])
            if child != spec and self._has(child):
                return child

    def crossover(self, first: Spec, second: Spec, rng: np.random.Generator) -> Spec:
        """The beginning of one and the end of the other, cut at one place, where that is a third network.

        Args:
            first: a parent, whose beginning it is.
            second: the other one.
            rng: of the place.
        """
        cut = [(*first[:place], *second[place:]) for place in range(1, min(len(first), len(second)))]
        children = [child for child in cut if child not in (first, second) and self._has(child)]
        return children[int(rng.integers(len(children)))] if children else first

    def enumerate(self) -> Iterator[Spec]:
        """All networks, those with equal beginnings one after the other; no two are equal."""
        return self._continued((), self._start)

    def count(self) -> int:
        """2.8e20."""
        return _count(self, self._start) - 1

    def cell_graph(self, spec: Spec) -> CellGraph:
        """A chain of the layers, named "convolution_3_1_64", "max_pool_k3_s2", "dense_128" and "global_avg_pool"."""
        names = {"C": "convolution_{1}_{2}_{0}", "P": "max_pool_k{0}_s{1}", "FC": "dense_{0}", "GAP": "global_avg_pool"}
        return chain([names[layer.kind].format(*layer.numbers) for layer in spec])

    @property
    def _start(self) -> State:
        return State("", 0, min(self.image[1:]))

    @property
    def _last(self) -> str:
        return f"SM({self.classes})"

    def _has(self, spec: Spec) -> bool:
        state = self._start
        for layer in spec:
            if layer not in choices(self, state):
                return False
            state = state.after(layer)
        return bool(spec)

    def _continued(self, spec: Spec, state: State) -> Iterator[Spec]:
        if spec:
            yield spec
        for layer in choices(self, state):
            yield from self._continued((*spec, layer), state.after(layer))


@lru_cache(maxsize=1 << 14)
def choices(space: MetaQnn, state: State) -> tuple[Layer, ...]:
    """The layers that may follow; the end may follow any layer."""
    if state.layers == space.layers or state.last == "GAP":
        return ()
    if state.last == "FC":
        return tuple(
            Layer("FC", (features,))
            for features in space.features
            if state.full < MOST_FULL and features <= state.features
        )
    size = next(bucket for bucket in (8, 4, 1) if state.size >= bucket)
    return tuple(layer for layer in _layers(space) if _may_follow(layer, state.last, size))


def _may_follow(layer: Layer, last: str, size: int) -> bool:
    """Whether a layer may follow a convolution, a pooling or nothing.

    Args:
        layer: the next one.
        last: kind of the last one.
        size: of the image, bucketed.
    """
    if layer.kind == "C":
        return layer.numbers[1] < size
    if layer.kind == "P":
        return last == "C" and layer.numbers[0] < size
    return bool(last) and (layer.kind == "GAP" or size <= 4)


@lru_cache(maxsize=64)
def _layers(space: MetaQnn) -> tuple[Layer, ...]:
    """All layers that the space has."""
    return (
        *(Layer("C", (width, kernel, 1)) for width, kernel in product(space.widths, KERNELS)),
        *(Layer("P", numbers) for numbers in POOLS),
        *(Layer("FC", (features,)) for features in space.features),
        Layer("GAP", (space.classes,)),
    )


@lru_cache(maxsize=1 << 14)
def _count(space: MetaQnn, state: State) -> int:
    """How many ends a beginning has, itself included."""
    return 1 + sum(_count(space, state.after(layer)) for layer in choices(space, state))


def _layer(build: GraphBuilder, x: int, layer: Layer) -> int:
    if layer.kind == "C":
        channels, kernel, stride = layer.numbers
        return build.relu(build.conv(x, channels, kernel, stride, bias=True))
    if layer.kind == "P":
        return _pool(build, x, *layer.numbers)
    if layer.kind == "FC":
        return build.relu(dense(build, x, layer.numbers[0]))
    return build.global_avg_pool(build.relu(build.conv(x, layer.numbers[0], 1, bias=True)))


def _pool(build: GraphBuilder, x: int, kernel: int, stride: int) -> int:
    """Max pooling whose last window may be cut by the border, as Caffe's."""
    channels, *sizes = build.shape(x)
    shape = (channels, *(-(-(size - kernel) // stride) + 1 for size in sizes))
    geometry: dict[str, Attr] = {"kernel": (kernel, kernel), "stride": (stride, stride), "padding": ((0, 0), (0, 0))}
    return build.add_node("MaxPool", (x,), shape, (), None, **geometry, dilation=(1, 1))


def _classifier(build: GraphBuilder, x: int, classes: int) -> int:
    return build.output(dense(build, x, classes))
