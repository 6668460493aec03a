"""Base class of both spaces of TransNAS-Bench-101 (Duan et al. 2021 and the authors' net_macro.py, cell_micro.py).

A network is a backbone, stem and searched modules, and the decoder of one of seven tasks. The discriminator that the
two generative tasks train against is not part of the network. Zero operations and what only they feed are left out; the
benchmark counts their parameters.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from cgir.builder import GraphBuilder
from cgir.graph import Attr, Shape
from frontends.spaces.cell_program import SUM, CellProgram
from frontends.spaces.edge_cell import compile_cell, edge_names
from frontends.spaces.space import Space

from .tasks import IMAGE_TASKS, JIGSAW_TILES, TASKS, DecoderBlock, TransNasBackbone, decoder_blocks

if TYPE_CHECKING:
    import torch

S = TypeVar("S", bound=tuple[int, ...])


@dataclass(frozen=True)
class TransNas(Space[S]):
    """A skeleton: `channels` after the stem, `cells` per module, one of seven `task`s.

    Jigsaw cuts nine tiles out of the image, each with a quarter of its height and width (64 of 256).
    """

    channels: int = 64
    cells: int = 2
    image: tuple[int, int, int] = (3, 256, 256)
    task: str = field(default="class_object", metadata={"choices": tuple(TASKS)})

    @abstractmethod
    def backbone(self, spec: S) -> TransNasBackbone:
        """The searched part of the network."""

    def network(self, build: GraphBuilder, spec: S) -> None:
        """The whole network.

        A cell without a path from input to output leaves an Input and an Output that are not connected.
        """
        backbone, outputs = self.backbone(spec), TASKS[self.task]
        x = build.input(self._shape)
        if not backbone.is_connected:
            build.add_node("Output", (), self._output_shape(backbone))
        elif self.task == "jigsaw":
            ends = [build.subgraph(_backbone, x, backbone) for _ in range(JIGSAW_TILES)]
            for end in ends[1:]:
                build.tie_weights(ends[0], end, ends[1] - ends[0])
            build.subgraph(_linear_head, build.concat(*ends), outputs)
        elif self.task in IMAGE_TASKS:
            build.subgraph(
                _image_head,
                _backbone(build, x, backbone),
                decoder_blocks(self.task, backbone.num_downsamplings),
                outputs,
                self.task,
            )
        else:
            build.subgraph(_linear_head, _backbone(build, x, backbone), outputs)

    def module_names(self, spec: S) -> dict[str, str]:
        """Edges of each cell: `cell3.edge 0->2: conv3x3`; of jigsaw, in the backbone of each tile."""
        backbone = self.backbone(spec)
        cells = [f"cell{number}" for number in range(len(backbone.modules) * backbone.cells)]
        if backbone.ops is None or not backbone.is_connected:
            return {}
        named = {
            f"{cell}.edge{number}": f"{cell}.{name}"
            for cell, ops in zip(cells, _cell_ops(backbone, backbone.ops), strict=True)
            for number, name in enumerate(edge_names(ops))
        }
        around = [f"backbone{tile}." for tile in range(JIGSAW_TILES)] if self.task == "jigsaw" else [""]
        return {f"{prefix}{path}": f"{prefix}{name}" for prefix in around for path, name in named.items()}

    def module(self, spec: S) -> torch.nn.Module:
        """The whole network in PyTorch."""
        from .torch_network import TransNasNetwork

        return TransNasNetwork(self.backbone(spec), self.task, self.image[0])

    def inputs(self, spec: S) -> tuple[torch.Tensor, ...]:
        """A batch of one image, or of the nine tiles of one, on the meta device."""
        import torch

        return (torch.empty(1, *self._shape, device="meta"),)

    @property
    def _shape(self) -> Shape:
        channels, height, width = self.image
        return (JIGSAW_TILES, channels, height // 4, width // 4) if self.task == "jigsaw" else self.image

    def _output_shape(self, backbone: TransNasBackbone) -> Shape:
        if self.task not in IMAGE_TASKS:
            return (TASKS[self.task],)
        sizes = []
        for size in self.image[1:]:
            for _ in range(backbone.num_downsamplings):
                size = (size + 1) // 2
            sizes.append(size << backbone.num_downsamplings)
        return (TASKS[self.task], *sizes)


def with_factorized_skips(ops: tuple[str, ...]) -> tuple[str, ...]:
    """Operations of a cell that changes the shape: skips from its input are factorized reductions."""
    return tuple("reduce" if op == "skip" and edge in (0, 1, 3) else op for edge, op in enumerate(ops))


def _cell_ops(backbone: TransNasBackbone, ops: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Operations of each cell of a backbone whose cells are `ops`, and reduce where they change the shape."""
    found, in_channels = [], backbone.channels
    for channels, stride in backbone.modules:
        for cell in range(backbone.cells):
            changes = (stride if cell == 0 else 1) > 1 or in_channels != channels
            found.append(with_factorized_skips(ops) if changes else ops)
            in_channels = channels
    return found


def _backbone(build: GraphBuilder, x: int, backbone: TransNasBackbone) -> int:
    """Stem and modules; the first cell of a module changes the shape."""
    x = build.subgraph(_stem, x, backbone.channels)
    in_channels = backbone.channels
    for channels, stride in backbone.modules:
        for cell in range(backbone.cells):
            cell_stride = stride if cell == 0 else 1
            if backbone.ops is None:
                x = build.subgraph(_basic_block, x, channels, cell_stride)
            else:
                changes = cell_stride > 1 or in_channels != channels
                program = compile_cell(with_factorized_skips(backbone.ops) if changes else backbone.ops)
                x = build.subgraph(_cell, x, program, channels, cell_stride)
            in_channels = channels
    return x


def _stem(build: GraphBuilder, x: int, channels: int) -> int:
    x = build.batch_norm(_conv_of_part(build, x, build.shape(x)[-3:], channels // 2, 3, 2))
    return _relu_conv_bn(build, x, channels, 3, 2)


def _conv_of_part(build: GraphBuilder, x: int, part: Shape, channels: int, kernel: int, stride: int) -> int:
    """A convolution that reads a part of a tensor."""
    pad = kernel // 2
    sizes = [(size + 2 * pad - kernel) // stride + 1 for size in part[1:]]
    geometry: dict[str, Attr] = {
        "kernel": (kernel, kernel),
        "stride": (stride, stride),
        "padding": ((pad, pad), (pad, pad)),
    }
    weight = (channels, part[0], kernel, kernel)
    return build.add_node("Conv", (x,), (channels, *sizes), (weight,), (part,), **geometry, dilation=(1, 1), groups=1)


def _relu_conv_bn(build: GraphBuilder, x: int, channels: int, kernel: int, stride: int = 1) -> int:
    return build.batch_norm(build.conv(build.relu(x), channels, kernel, stride))


def _basic_block(build: GraphBuilder, x: int, channels: int, stride: int) -> int:
    """ResNet's block with the activations first."""
    y = _relu_conv_bn(build, _relu_conv_bn(build, x, channels, 3, stride), channels, 3)
    if stride > 1 or build.shape(x)[0] != channels:
        x = build.batch_norm(build.conv(x, channels, 1, stride))
    return build.add(x, y)


def _cell(build: GraphBuilder, x: int, program: CellProgram, channels: int, stride: int) -> int:
    values = [x]
    for op, operands, _ in program.instructions:
        values.append(
            build.add(*[values[operand] for operand in operands])
            if op == SUM
            else build.subgraph(_edge, values[operands[0]], op, channels, 1 if operands[0] else stride)
        )
    return values[program.results[0]]


def _edge(build: GraphBuilder, x: int, op: str, channels: int, stride: int) -> int:
    if op != "reduce":
        return _relu_conv_bn(build, x, channels, 1 if op == "conv1x1" else 3, stride)
    x, shape = build.relu(x), build.shape(x)
    # the second half reads the image shifted by a pixel
    shifted = build.add_node(
        "Pad", (x,), (shape[0], shape[1] + 1, shape[2] + 1), mode="constant", padding=((0, 1), (0, 1)), value=0.0
    )
    halves = (
        _conv_of_part(build, x, shape, channels // 2, 1, stride),
        _conv_of_part(build, shifted, shape, channels // 2, 1, stride),
    )
    return build.batch_norm(build.concat(*halves))


def _linear_head(build: GraphBuilder, x: int, outputs: int) -> int:
    channels, *size = build.shape(x)
    if size != [1, 1]:  # else there is nothing to pool, as in a jigsaw whose tiles are halved six times
        x = build.global_avg_pool(x)
    return build.output(build.add_node("Linear", (x,), (outputs,), ((outputs, channels), (outputs,)), ((channels,),)))


def _image_head(build: GraphBuilder, x: int, blocks: tuple[DecoderBlock, ...], outputs: int, task: str) -> int:
    for block in blocks:
        x = build.batch_norm(
            _deconv(build, x, block.channels) if block.upsamples else build.conv(x, block.channels, 3, bias=True)
        )
        x = build.add_node("LeakyReLU", (x,), build.shape(x), slope=0.2)
    x = build.conv(x, outputs, 3, bias=True)
    return build.output(x if task == "segmentsemantic" else build.relu(x, "Tanh"))


def _deconv(build: GraphBuilder, x: int, channels: int) -> int:
    """A transposed 3x3 convolution that doubles the size."""
    in_channels, height, width = build.shape(x)
    geometry: dict[str, Attr] = {
        "kernel": (3, 3),
        "stride": (2, 2),
        "padding": ((1, 1), (1, 1)),
        "output_padding": (1, 1),
    }
    weights = ((in_channels, channels, 3, 3), (channels,))
    return build.add_node(
        "ConvTranspose", (x,), (channels, 2 * height, 2 * width), weights, **geometry, dilation=(1, 1), groups=1
    )
