"""Parts of graphs and of cell graphs that plain and residual networks share."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from cgir.builder import GraphBuilder
from frontends.spaces.cell import CellGraph
from frontends.spaces.mbconv.blocks import conv_bn

Reading = tuple[str, tuple[int, ...]]  # an operator of a cell, and indices of what it reads


def conv_bn_relu(build: GraphBuilder, x: int, channels: int, kernel: int, stride: int = 1) -> int:
    """Convolution without bias, BatchNorm, ReLU.

    Args:
        build: builder of the graph.
        x: its input.
        channels: of the result.
        kernel: height and width of the kernel.
        stride: of the convolution.
    """
    return build.relu(conv_bn(build, x, channels, kernel, stride))


def pooled_classifier(build: GraphBuilder, x: int, classes: int) -> int:
    """Global average pooling, linear layer, output.

    Args:
        build: builder of the graph.
        x: node (C, H, W) that it reads.
        classes: length of the logits.
    """
    return build.output(build.linear(build.global_avg_pool(x), classes))


def dense(build: GraphBuilder, x: int, features: int) -> int:
    """A linear layer on all that a node returns, flattened.

    Args:
        build: builder of the graph.
        x: the node.
        features: of the result.
    """
    flat = prod(build.shape(x))
    return build.add_node("Linear", (x,), (features,), ((features, flat), (features,)), ((flat,),))


def conv_name(kernel: int, stride: int, channels: int) -> str:
    """What cell graphs call a convolution.

    Args:
        kernel: height and width of its kernel.
        stride: of both axes.
        channels: that it returns.
    """
    return f"convolution_{kernel}_{stride}_{channels}"


def chain_with_shortcuts(ops: Iterable[Reading]) -> CellGraph:
    """A cell graph from operators, "output" the last, and what each reads: 0 the input, i the i-th operator."""
    names, edges = ["input"], []
    for index, (name, sources) in enumerate(ops, 1):
        names.append(name)
        edges += [(source, index) for source in sources]
    return CellGraph(tuple(names), tuple(sorted(edges)))
