"""Parameters, FLOPs and activation memory against published numbers and counts by hand."""

from math import prod

import numpy as np
from cgir_samples import resnet50, small_graph

from cgir.cost import activation_bytes, flops, node_flops, num_params
from cgir.graph import Graph, Node, Param, attributes
from cgir.report import costs


def test_costs_of_resnet50_are_the_published_ones():
    graph = resnet50()
    assert graph.num_params == num_params(graph) == 25_557_032
    assert graph.flops == flops(graph) == 2 * 4_089_184_256  # multiply-adds by fvcore and torchvision's model card
    assert activation_bytes(graph) == 4 * sum(prod(node.shape) for node in graph.nodes[:-1])
    assert activation_bytes(graph, 2) * 2 == activation_bytes(graph)


def test_shared_parameters_count_once_and_flops_every_time():
    graph = small_graph()
    assert graph.num_params == 4 * 27 + 4 + 8 + 16
    assert [node_flops(node) for node in graph.nodes if node.op == "Linear"] == [2 * 4 * 8 * 8 * 4] * 2


def test_a_shared_parameter_counts_once_in_whatever_shapes_it_is_read():
    def graph(*names_and_shapes):
        params = [Param(name, shape) for name, shape in names_and_shapes]
        nodes = [Node("Input", shape=(8,), name="x")]
        nodes += [
            Node("Add", (index,), ((8,),), (8,), (param,), name=f"add{index}") for index, param in enumerate(params)
        ]
        return Graph((*nodes, Node("Output", (len(params),), ((8,),), (8,), name="y")))

    for shapes, count in (
        ([("p", (1, 8)), ("p:8", (8,))], 8),
        ([("p", (4, 2)), ("p:2x4", (2, 4)), ("p:2x4:8", (8,))], 8),
        ([("p:2x4", (4, 2)), ("p:8", (8,))], 8),
        ([("a+b@3:2x4", (2, 4)), ("a+b@3:8", (8,))], 8),
        ([("p:0", (8,)), ("p:1", (8,))], 16),  # names of TensorFlow
        ([("p:2", (8,)), ("p:4", (8,))], 16),
        ([("p", (8,)), ("p@1:4", (4,))], 12),
    ):
        shared = graph(*shapes)
        assert shared.num_params == count
        assert sum(weights for weights, _ in costs(shared)) == count


def test_flops_of_products_against_a_count_of_multiplications():
    def kind(op, in_shapes, shape, params=(), **attrs):
        return Node(
            op,
            tuple(range(len(in_shapes))),
            in_shapes,
            shape,
            tuple(Param(str(i), s) for i, s in enumerate(params)),
            attributes(attrs),
        )

    grouped = kind("Conv", ((6, 5, 5),), (4, 3, 3), kernel=(3, 3), groups=2)
    # every output sums 3 channels of its group over 3 x 3
    count = sum(1 for _ in np.ndindex(4, 3, 3) for _ in np.ndindex(3, 3, 3))
    assert node_flops(grouped) == 2 * count
    attention = kind("Attention", ((2, 7, 3), (2, 5, 3), (2, 5, 4)), (2, 7, 4), causal=False)
    assert node_flops(attention) == 2 * 2 * (7 * 5 * 3 + 7 * 5 * 4)
    assert node_flops(kind("MatMul", ((2, 3), (3, 4)), (2, 4), inner=3)) == 2 * 2 * 3 * 4
    assert node_flops(kind("ConvTranspose", ((6, 5),), (4, 11), kernel=(3,), groups=2)) == 2 * 6 * 5 * 3 * 2
    recurrent = kind(
        "LSTM", ((5, 7),), (3, 7), params=((12, 5), (12, 3), (12,), (12,)), hidden=3, layers=1, bidirectional=False
    )
    assert node_flops(recurrent) == 2 * 7 * (12 * 5 + 12 * 3)
    assert node_flops(kind("ReLU", ((9,),), (9,))) == 0
