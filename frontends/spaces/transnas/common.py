"""What both spaces of TransNAS-Bench-101 share (Duan et al. 2021 and the authors' net_macro.py, cell_micro.py,
decoder.py and task configs).

A network is an encoder, stem and searched modules, and the decoder of one of seven tasks. The discriminator that the
two generative tasks train against is not part of the network. Zero operations and what only they feed are left out; the
benchmark counts their parameters.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from cgir.builder import GraphBuilder
from cgir.graph import Attr, Shape
from frontends.spaces.edge_cell import Plan, plan
from frontends.spaces.space import Space

if TYPE_CHECKING:
    import torch

OPS = ("zeroize", "skip", "conv1x1", "conv3x3")  # of an edge of a cell, in the order of their codes
# task -> outputs: classes, coordinates, permutations, or channels of an image
TASKS = {
    "class_object": 75,
    "class_scene": 47,
    "room_layout": 9,
    "jigsaw": 1000,
    "segmentsemantic": 17,
    "normal": 3,
    "autoencoder": 3,
}
IMAGE_TASKS = ("segmentsemantic", "normal", "autoencoder")
PIECES = 9  # of a jigsaw, each through one and the same encoder
STEM_HALVINGS = 2

S = TypeVar("S", bound=tuple[int, ...])


class Encoder(NamedTuple):
    """The searched part: `layout` has a digit per module (even: twice the channels; above 2: half the size), `ops`
    those of a cell, None for ResNet blocks.
    """

    layout: tuple[int, ...]
    ops: tuple[str, ...] | None
    channels: int
    cells: int

    @property
    def modules(self) -> tuple[tuple[int, int], ...]:
        """Output channels and stride of each module."""
        result, channels = [], self.channels
        for digit in self.layout:
            channels *= 2 if digit % 2 == 0 else 1
            result.append((channels, 2 if digit > 2 else 1))
        return tuple(result)

    @property
    def halvings(self) -> int:
        """How often the size is halved, stem included."""
        return STEM_HALVINGS + sum(stride == 2 for _, stride in self.modules)

    @property
    def connected(self) -> bool:
        """Whether the output depends on the input."""
        return self.ops is None or plan(self.ops) is not None


class Block(NamedTuple):
    """A layer of a decoder that makes an image: 3x3 convolution to `channels`, or a transposed one that doubles the
    size.
    """

    channels: int
    doubles: bool


@dataclass(frozen=True)
class TransNas(Space[S]):
    """`channels` after the stem, `cells` per module, one of seven `task`s. Jigsaw cuts nine pieces of a quarter of the
    image's sides (64 of 256).
    """

    channels: int = 64
    cells: int = 2
    image: tuple[int, int, int] = (3, 256, 256)
    task: str = field(default="class_object", metadata={"choices": tuple(TASKS)})

    @abstractmethod
    def encoder(self, spec: S) -> Encoder:
        """The searched part of the network."""

    def network(self, build: GraphBuilder, spec: S) -> None:
        """The whole network. A cell through which nothing flows leaves an input and an output that are not connected."""
        encoder, outputs = self.encoder(spec), TASKS[self.task]
        x = build.input(self._shape)
        if not encoder.connected:
            build.add_node("Output", (), self._output_shape(encoder))
        elif self.task == "jigsaw":
            ends = [build.subgraph(_encode, x, encoder) for _ in range(PIECES)]
            for end in ends[1:]:
                build.tie_weights(ends[0], end, ends[1] - ends[0])
            build.subgraph(_linear_head, build.concat(*ends), outputs)
        elif self.task in IMAGE_TASKS:
            build.subgraph(
                _image_head, _encode(build, x, encoder), decoder(self.task, encoder.halvings), outputs, self.task
            )
        else:
            build.subgraph(_linear_head, _encode(build, x, encoder), outputs)

    def module(self, spec: S) -> torch.nn.Module:
        """The whole network in PyTorch."""
        from .torch_network import Network

        return Network(self.encoder(spec), self.task, self.image[0])

    def inputs(self, spec: S) -> tuple[torch.Tensor, ...]:
        """A batch of one image, or of the nine pieces of one, on the meta device."""
        import torch

        return (torch.empty(1, *self._shape, device="meta"),)

    @property
    def _shape(self) -> Shape:
        channels, height, width = self.image
        return (PIECES, channels, height // 4, width // 4) if self.task == "jigsaw" else self.image

    def _output_shape(self, encoder: Encoder) -> Shape:
        if self.task not in IMAGE_TASKS:
            return (TASKS[self.task],)
        sizes = []
        for size in self.image[1:]:
            for _ in range(encoder.halvings):
                size = (size + 1) // 2
            sizes.append(size << encoder.halvings)
        return (TASKS[self.task], *sizes)


def decoder(task: str, halvings: int) -> tuple[Block, ...]:
    """The layers of a decoder before the last, which turn an encoder's output into an image of the input's size."""
    if task == "segmentsemantic":
        plain = [1024 >> step for step in range(7 - halvings)]
        wide = [plain[-1] >> step for step in range(1, halvings)]
        return (*(Block(c, False) for c in plain), *(Block(c, True) for c in (*wide, wide[-1])))
    pairs = ((1024, 512, 6), (512, 256, 5), (128, 64, 4), (64, 32, 3), (32, 16, 0), (32, 16, 0))
    grow = [block for inner, outer, least in pairs for block in (Block(inner, False), Block(outer, halvings >= least))]
    return (Block(1024, False), *grow)


def reduced(ops: tuple[str, ...]) -> tuple[str, ...]:
    """Operations of a cell that changes the shape: skips from its input reduce."""
    return tuple("reduce" if op == "skip" and place in (0, 1, 3) else op for place, op in enumerate(ops))


def _encode(build: GraphBuilder, x: int, encoder: Encoder) -> int:
    """Stem and modules; the first cell of a module changes the shape."""
    x = build.subgraph(_stem, x, encoder.channels)
    inner = encoder.channels
    for channels, stride in encoder.modules:
        for cell in range(encoder.cells):
            step = stride if cell == 0 else 1
            if encoder.ops is None:
                x = build.subgraph(_basic_block, x, channels, step)
            else:
                changes = step > 1 or inner != channels
                steps = plan(reduced(encoder.ops) if changes else encoder.ops)
                x = build.subgraph(_cell, x, steps, channels, step)
            inner = channels
    return x


def _stem(build: GraphBuilder, x: int, channels: int) -> int:
    x = build.batch_norm(_seen_conv(build, x, build.shape(x)[-3:], channels // 2, 3, 2))
    return _relu_conv_bn(build, x, channels, 3, 2)


def _seen_conv(build: GraphBuilder, x: int, seen: Shape, channels: int, kernel: int, stride: int) -> int:
    """A convolution that reads a part of a tensor."""
    pad = kernel // 2
    sizes = [(size + 2 * pad - kernel) // stride + 1 for size in seen[1:]]
    geometry: dict[str, Attr] = {
        "kernel": (kernel, kernel),
        "stride": (stride, stride),
        "padding": ((pad, pad), (pad, pad)),
    }
    weight = (channels, seen[0], kernel, kernel)
    return build.add_node("Conv", (x,), (channels, *sizes), (weight,), (seen,), **geometry, dilation=(1, 1), groups=1)


def _relu_conv_bn(build: GraphBuilder, x: int, channels: int, kernel: int, stride: int = 1) -> int:
    return build.batch_norm(build.conv(build.relu(x), channels, kernel, stride))


def _basic_block(build: GraphBuilder, x: int, channels: int, stride: int) -> int:
    """ResNet's block with the activations first."""
    y = _relu_conv_bn(build, _relu_conv_bn(build, x, channels, 3, stride), channels, 3)
    if stride > 1 or build.shape(x)[0] != channels:
        x = build.batch_norm(build.conv(x, channels, 1, stride))
    return build.add(x, y)


def _cell(build: GraphBuilder, x: int, steps: Plan, channels: int, stride: int) -> int:
    values = [x]
    for op, inputs in steps.steps:
        sources = [values[slot] for slot in inputs]
        values.append(
            build.add(*sources)
            if op == "sum"
            else build.subgraph(_edge, sources[0], op, channels, 1 if inputs[0] else stride)
        )
    return values[steps.result]


def _edge(build: GraphBuilder, x: int, op: str, channels: int, stride: int) -> int:
    if op != "reduce":
        return _relu_conv_bn(build, x, channels, 1 if op == "conv1x1" else 3, stride)
    x, shape = build.relu(x), build.shape(x)
    # the second half sees the image moved by a pixel
    moved = build.add_node(
        "Pad", (x,), (shape[0], shape[1] + 1, shape[2] + 1), mode="constant", padding=((0, 1), (0, 1)), value=0.0
    )
    halves = (
        _seen_conv(build, x, shape, channels // 2, 1, stride),
        _seen_conv(build, moved, shape, channels // 2, 1, stride),
    )
    return build.batch_norm(build.concat(*halves))


def _linear_head(build: GraphBuilder, x: int, outputs: int) -> int:
    channels, *size = build.shape(x)
    if size != [1, 1]:  # else there is nothing to pool, as in a jigsaw whose pieces are halved six times
        x = build.global_avg_pool(x)
    return build.output(build.add_node("Linear", (x,), (outputs,), ((outputs, channels), (outputs,)), ((channels,),)))


def _image_head(build: GraphBuilder, x: int, blocks: tuple[Block, ...], outputs: int, task: str) -> int:
    for block in blocks:
        x = build.batch_norm(
            _deconv(build, x, block.channels) if block.doubles else build.conv(x, block.channels, 3, bias=True)
        )
        x = build.add_node("LeakyReLU", (x,), build.shape(x), slope=0.2)
    x = build.conv(x, outputs, 3, bias=True)
    return build.output(x if task == "segmentsemantic" else build.relu(x, "Tanh"))


def _deconv(build: GraphBuilder, x: int, channels: int) -> int:
    """A transposed 3x3 convolution that doubles the size."""
    inner, height, width = build.shape(x)
    geometry: dict[str, Attr] = {
        "kernel": (3, 3),
        "stride": (2, 2),
        "padding": ((1, 1), (1, 1)),
        "output_padding": (1, 1),
    }
    weights = ((inner, channels, 3, 3), (channels,))
    return build.add_node(
        "ConvTranspose", (x,), (channels, 2 * height, 2 * width), weights, **geometry, dilation=(1, 1), groups=1
    )
