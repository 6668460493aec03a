"""Graphs that several tests of `cgir` use: random ones, a real one, and isomorphic copies."""

from dataclasses import replace

import numpy as np

from cgir.builder import GraphBuilder
from cgir.graph import Graph, Node, Param, attributes
from cgir.ops import OPS

CHOICES = ("ReLU", "Sigmoid", "Add", "Mul", "Sub", "Concat")


def random_graph(rng, size, share=0.0, ops=CHOICES):
    """A valid raw graph of `size` operators on (4,) vectors, some with one of two shared parameters."""
    nodes = [Node("Input", shape=(4,)), Node("Input", shape=(4,))]
    for index in range(2, size + 2):
        op = ops[rng.integers(len(ops))]
        inputs = tuple(int(i) for i in rng.integers(0, index, 1 if op in ("ReLU", "Sigmoid") else rng.integers(2, 4)))
        names = [
            f"shared{rng.integers(2)}" if rng.random() < share else f"own{index}.{slot}"
            for slot in range(rng.integers(0, 3))
        ]
        nodes.append(
            Node(op, inputs, ((4,),) * len(inputs), (4,), tuple(Param(name, (4,)) for name in names), name=f"n{index}")
        )
    used = {i for node in nodes for i in node.inputs}
    loose = [i for i in range(len(nodes)) if i not in used]
    nodes += [Node("Output", (i,), ((4,),), (4,)) for i in loose]
    return Graph(tuple(nodes), "random")


def shuffled(graph, rng):
    """An isomorphic graph: another topological order, other names, inputs of commutative operators permuted."""
    order, placed = [], set()
    while len(order) < len(graph):
        ready = [i for i, node in enumerate(graph.nodes) if i not in placed and all(s in placed for s in node.inputs)]
        order.append(ready[rng.integers(len(ready))])
        placed.add(order[-1])
    position = {old: new for new, old in enumerate(order)}
    nodes = []
    for old in order:
        node = graph.nodes[old]
        slots = rng.permutation(len(node.inputs)) if OPS[node.op].commutative else range(len(node.inputs))
        inputs = tuple(position[node.inputs[s]] for s in slots)
        params = tuple(Param("renamed." + param.id, param.shape) for param in node.params)
        nodes.append(
            replace(
                node,
                inputs=inputs,
                in_shapes=tuple(node.in_shapes[s] for s in slots),
                params=params,
                name=f"other{old}",
                module="m",
            )
        )
    return replace(graph, nodes=tuple(nodes), name="another")


def ring_graph(*lengths):
    """Adds over pairs of inputs that close rings: colours cannot tell two rings of 3 from one of 6."""
    nodes = [Node("Input", shape=(4,)) for _ in range(sum(lengths))]
    start = 0
    for length in lengths:
        nodes += [Node("Add", (start + i, start + (i + 1) % length), ((4,), (4,)), (4,)) for i in range(length)]
        start += length
    nodes += [Node("Output", (i,), ((4,),), (4,)) for i in range(start, 2 * start)]
    return Graph(tuple(nodes), "ring", level="module")


def resnet50(classes=1000):
    """ResNet-50 by hand: 176 nodes, module paths as in torchvision."""
    b = GraphBuilder("resnet50")
    x = b.max_pool(b.relu(b.batch_norm(b.conv(b.input((3, 224, 224)), 64, 7, 2))), 3, 2, 1)
    paths = {}
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            first, width, stride = len(b.nodes), 64 << stage, 2 if stage and not block else 1
            y = b.relu(b.batch_norm(b.conv(x, width, 1)))
            y = b.relu(b.batch_norm(b.conv(y, width, 3, stride)))
            y = b.batch_norm(b.conv(y, 4 * width, 1))
            if not block:
                x = b.batch_norm(b.conv(x, 4 * width, 1, stride))
            x = b.relu(b.add(y, x))
            paths.update(dict.fromkeys(range(first, len(b.nodes)), f"layer{stage + 1}.{block}"))
    b.output(b.linear(b.global_avg_pool(x), classes))
    graph = b.build()
    return graph.with_nodes(replace(node, module=paths.get(i, "")) for i, node in enumerate(graph.nodes))


def small_graph():
    """Everything that files must carry: tuples in attributes, infinities, shared parameters, names and modules."""
    b = GraphBuilder("small")
    x = b.batch_norm(b.conv(b.input((3, 8, 8)), 4, 3, bias=True))
    x = b.add_node("Clip", (x,), b.shape(x), max=float("inf"), min=-0.5)
    x = b.add_node("Opaque", (x,), b.shape(x), name="fold", table=((1, 2.5), ("a", True)))
    tied = Param("tied", (4, 4))
    graph = b.build()
    nodes = [replace(n, module="body", name=f"node {i} \u00e9") for i, n in enumerate(graph.nodes)]
    for _ in range(2):
        nodes.append(Node("Linear", (len(nodes) - 1,), ((4, 8, 8),), (4, 8, 8), (tied,), attributes({}), "l", "head"))
    nodes.append(Node("Output", (len(nodes) - 1,), ((4, 8, 8),), (4, 8, 8), name="out"))
    return graph.with_nodes(nodes, notes={"contract_movement": 3})


def store_sample(count=12, seed=0):
    """Graphs for data sets: `count` random ones, then one of each other sort."""
    rng = np.random.default_rng(seed)
    return [random_graph(rng, int(n), 0.3 * (n % 2)) for n in rng.integers(1, 25, count)] + [
        small_graph(),
        resnet50(),
        ring_graph(3, 4),
    ]


def equal_batches(a, b):
    """Whether they are the same graphs, whatever the numbering of kinds."""
    arrays = zip((a.ptr, a.src, a.dst), (b.ptr, b.src, b.dst), strict=True)
    return all(np.array_equal(x, y) for x, y in arrays) and [a.kinds[k] for k in a.kind] == [b.kinds[k] for k in b.kind]
