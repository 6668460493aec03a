from dataclasses import replace

import numpy as np
import pytest
from cgir_samples import random_graph, resnet50, ring_graph, small_graph

from cgir import GraphBuilder, InvalidGraphError, verify
from cgir.graph import Graph, Node, Param, attributes

VECTOR = (4,)
ENDS = (Node("Input", shape=VECTOR), Node("Output", (0,), (VECTOR,), VECTOR))


def conv_graph():
    b = GraphBuilder("net")
    x = b.conv(b.input((4, 9, 9)), 6, 3, stride=2, groups=2, bias=True)
    b.output(b.linear(b.global_avg_pool(x), 5))
    return b.build()


def with_node(graph, index, **changes):
    nodes = list(graph.nodes)
    nodes[index] = replace(nodes[index], **changes)
    return graph.with_nodes(nodes)


def with_attrs(graph, index, **changes):
    values = dict(graph.nodes[index].attrs) | changes
    return with_node(graph, index, attrs=attributes({k: v for k, v in values.items() if v is not None}))


def test_good_graphs_pass():
    for graph in (resnet50(), ring_graph(3), small_graph(), conv_graph(), Graph(ENDS, level="module")):
        verify(graph)
    for seed in range(20):
        verify(random_graph(np.random.default_rng(seed), 20, 0.3))


def test_only_inputs_and_outputs_may_be_disconnected():
    output = Node("Output", (), (), VECTOR)
    verify(Graph((ENDS[0], output), level="inference"))
    with pytest.raises(InvalidGraphError, match=r"node 0 .* no Output depends on it"):
        verify(Graph((ENDS[0], Node("ReLU", (0,), (VECTOR,), VECTOR), output), level="module"))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ((ENDS[0],), "no Output"),
        ((), "no Output"),
        ((Node("ReLU", (0,), (VECTOR,), VECTOR), *ENDS), "inputs .* earlier nodes"),
        ((ENDS[0], Node("ReLU", (1,), (VECTOR,), VECTOR), ENDS[1]), "earlier nodes"),
        ((ENDS[0], Node("ReLU", (-1,), (VECTOR,), VECTOR), ENDS[1]), "earlier nodes"),
        ((ENDS[0], Node("ReLU", (True,), (VECTOR,), VECTOR), ENDS[1]), "earlier nodes"),
        ((ENDS[0], Node("ReLU", [0], (VECTOR,), VECTOR), ENDS[1]), "tuple of indices"),
        ((ENDS[0], Node("ReLU", (0,), (), VECTOR), ENDS[1]), "as many in_shapes"),
        ((ENDS[0], Node("Relu", (0,), (VECTOR,), VECTOR), ENDS[1]), "'Relu' is not in the vocabulary"),
        ((ENDS[0], Node("ReLU", (0,), (VECTOR,), (-1,)), ENDS[1]), "non-negative"),
        ((ENDS[0], Node("ReLU", (0,), ((4.0,),), VECTOR), ENDS[1]), "non-negative"),
        ((ENDS[0], Node("ReLU", (0,), (VECTOR,), [4]), ENDS[1]), "tuple of non-negative"),
        ((ENDS[0], Node("ReLU", (0,), (VECTOR,), (np.int64(4),)), ENDS[1]), "non-negative"),
        ((ENDS[0], Node("Clip", (0,), (VECTOR,), VECTOR, attrs=(("min", 0), ("max", 1))), ENDS[1]), "sorted"),
        ((ENDS[0], Node("Clip", (0,), (VECTOR,), VECTOR, attrs=(("min", 0), ("min", 1))), ENDS[1]), "sorted"),
        ((ENDS[0], Node("Clip", (0,), (VECTOR,), VECTOR, attrs=(("min", [0]),)), ENDS[1]), "attribute min="),
        ((ENDS[0], Node("Clip", (0,), (VECTOR,), VECTOR, attrs=(("min", float("nan")),)), ENDS[1]), "not NaN"),
        ((ENDS[0], Node("Clip", (0,), (VECTOR,), VECTOR, attrs=(("min", np.float64(1)),)), ENDS[1]), "attribute min="),
        ((ENDS[0], Node("Clip", (0,), (VECTOR,), VECTOR, attrs=(("min", None),)), ENDS[1]), "attribute min="),
        ((ENDS[0], Node("Clip", (0,), (VECTOR,), VECTOR, attrs="min"), ENDS[1]), "pairs"),
        ((ENDS[0], Node("Opaque", (0,), (VECTOR,), VECTOR), ENDS[1]), r"\['name'\] are missing"),
        ((ENDS[0], Node("Input", (0,), (VECTOR,), VECTOR), ENDS[1]), "an Input has no inputs"),
        ((ENDS[0], Node("Output", (0, 0), (VECTOR, VECTOR), VECTOR)), "an Output has one input"),
        ((ENDS[0], Node("PReLU", (0,), (VECTOR,), VECTOR, (("a", [4]),)), ENDS[1]), "param .* must be a Param"),
        ((ENDS[0], Node("ReLU", (0,), (VECTOR,), VECTOR, name=3), ENDS[1]), "must be strings"),
    ],
)
def test_broken_nodes_are_named(nodes, message):
    with pytest.raises(InvalidGraphError, match=message) as error:
        verify(Graph(nodes, "net"))
    assert "net" in str(error.value)
    assert "\n" not in str(error.value)


def test_message_says_where():
    graph = with_node(conv_graph(), 1, shape=(6, 4, 5), name="conv1", module="body.0")
    with pytest.raises(
        InvalidGraphError, match=r"graph 'net', node 1 \(Conv, name 'conv1', module 'body.0'\): axis 1: size 9 gives 5"
    ):
        verify(graph)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel": None}, r"\['kernel'\] are missing"),
        ({"kernel": 3}, "kernel=3 must be a tuple"),
        ({"kernel": (3, 3, 3)}, "stride="),
        ({"kernel": (3, 0)}, "kernel="),
        ({"stride": (2,)}, "stride="),
        ({"padding": (1, 1)}, "padding="),
        ({"padding": ((1, 1), (2, 2))}, "axis 2"),
        ({"dilation": (2, 2)}, "axis 1"),
        ({"groups": 3}, "groups=3"),
        ({"groups": 0}, "groups=0"),
        ({"groups": 1}, "weight has shape"),
    ],
)
def test_geometry_of_convolutions(changes, message):
    with pytest.raises(InvalidGraphError, match=message):
        verify(with_attrs(conv_graph(), 1, **changes))


def test_weights_agree_with_shapes():
    graph = conv_graph()
    weight, bias = graph.nodes[1].params
    with pytest.raises(InvalidGraphError, match="weight has shape"):
        verify(with_node(graph, 1, params=(weight._replace(shape=(6, 2, 3, 2)), bias)))
    with pytest.raises(InvalidGraphError, match="weight has shape"):
        verify(with_node(graph, 3, params=(Param("w", (5, 7)),)))
    with pytest.raises(InvalidGraphError, match=r"only the first"):
        verify(with_node(graph, 3, in_shapes=((6, 2),)))
    with pytest.raises(InvalidGraphError, match=r"parameter '1.0' has shape"):
        verify(with_node(graph, 3, params=(Param("1.0", (5, 6)),)))
    # A normalised weight is computed from a direction and a gain, a hypernetwork's from anything.
    verify(with_node(graph, 1, params=(Param("g", (6, 1, 1, 1)), Param("v", weight.shape))))
    verify(with_node(graph, 1, params=(Param("any", (7, 7)),)))


def test_transposed_convolutions():
    attrs = attributes(
        {"kernel": (4,), "stride": (2,), "padding": ((1, 1),), "dilation": (1,), "groups": 1, "output_padding": (1,)}
    )
    node = Node("ConvTranspose", (0,), ((3, 5),), (8, 11), (Param("w", (3, 8, 4)),), attrs)
    ends = Node("Input", shape=(3, 5)), Node("Output", (1,), ((8, 11),), (8, 11))
    verify(Graph((ends[0], node, ends[1])))
    with pytest.raises(InvalidGraphError, match="size 5 gives 11"):
        verify(Graph((ends[0], replace(node, shape=(8, 10)), ends[1])))


@pytest.mark.parametrize("op", ["Reshape", "Dropout", "Constant"])
def test_canonical_graphs_contain_no_movement_identity_or_source(op):
    nodes = (ENDS[0], Node(op, (0,), (VECTOR,), VECTOR), Node("Output", (1,), (VECTOR,), VECTOR))
    verify(Graph(nodes))
    for level in ("module", "inference"):
        with pytest.raises(InvalidGraphError, match=r"run cgir.canonicalize"):
            verify(Graph(nodes, level=level))


def test_canonical_graphs_are_connected():
    nodes = (
        ENDS[0],
        Node("ReLU", (0,), (VECTOR,), VECTOR),
        Node("Tanh", (0,), (VECTOR,), VECTOR),
        Node("Output", (1,), (VECTOR,), VECTOR),
    )
    verify(Graph(nodes))
    with pytest.raises(InvalidGraphError, match=r"node 2 .* no Output depends on it"):
        verify(Graph(nodes, level="module"))
    nodes = (
        ENDS[0],
        Node("Tanh", (), (), VECTOR),
        Node("Add", (0, 1), (VECTOR, VECTOR), VECTOR),
        Node("Output", (2,), (VECTOR,), VECTOR),
    )
    with pytest.raises(InvalidGraphError, match=r"node 1 .* does not depend on any Input"):
        verify(Graph(nodes, level="module"))


def test_unknown_level():
    with pytest.raises(InvalidGraphError, match="level is 'final'"):
        verify(Graph(ENDS, level="final"))
