"""Classes of nodes against the definition: nested multisets, written out or numbered by a dict, and never hashed."""

import numpy as np
import pytest
from cgir_samples import random_graph, resnet50, ring_graph, shuffled
from hypothesis import given, settings
from hypothesis import strategies as st

import frontends
from cgir.analysis import computation_trees
from cgir.analysis.computation_trees import build_class_table, node_classes
from cgir.analysis.weisfeiler_lehman import colors, mix
from cgir.errors import CgirError
from cgir.graph import Graph, Node
from cgir.graph_batch import GraphBatch

DIRECTIONS = ("forward", "backward", "both")
seeds = st.integers(0, 10**6)


def neighbours(batch):
    """For every node the nodes it reads and the nodes that read it, once per edge."""
    before, after = ([[] for _ in range(batch.num_nodes)] for _ in range(2))
    for source, target in zip(batch.src.tolist(), batch.dst.tolist(), strict=True):
        before[target].append(source)
        after[source].append(target)
    return before, after


def unfold(batch, depth, direction):
    """Every node's tree as nested tuples, which share nothing and hash nothing."""
    before, after = neighbours(batch)
    sides = {"forward": [before], "backward": [after], "both": [before, after]}[direction]

    def tree(node, depth):
        return (
            int(batch.kind[node]),
            *(tuple(sorted(tree(other, depth - 1) for other in side[node])) for side in sides if depth),
        )

    return [[tree(node, level) for node in range(batch.num_nodes)] for level in range(depth + 1)]


def numbered(batch, depth, direction):
    """The same partitions for larger batches: each multiset of numbers gets the next number."""
    before, after = neighbours(batch)
    sides = {"forward": [before], "backward": [after], "both": [before, after]}[direction]
    levels = [batch.kind.tolist()]
    for _ in range(depth):
        last, numbers = levels[-1], {}
        keys = [
            (batch.kind[v], *(tuple(sorted(last[u] for u in side[v])) for side in sides))
            for v in range(batch.num_nodes)
        ]
        levels.append([numbers.setdefault(key, len(numbers)) for key in keys])
    return levels


def same_partition(a, b):
    pairs = set(zip(list(a), list(b), strict=True))
    return len(pairs) == len({x for x, _ in pairs}) == len({y for _, y in pairs})


def random_batch(seed, graphs=3, size=7, kinds=2):
    """Edges lead forward and are often there twice; nodes of one kind have any number of them."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, size + 1, graphs)
    ptr = np.concatenate([[0], np.cumsum(sizes)])
    src, dst = [], []
    for start, count in zip(ptr, sizes, strict=False):
        for node in range(count):
            read = start + rng.integers(0, node, rng.integers(0, 4)) if node else []
            src.extend(read)
            dst.extend([start + node] * len(read))
    return GraphBatch(
        ("a", "b", "c", "d")[:kinds],
        rng.integers(0, kinds, ptr[-1]),
        np.asarray(src, np.int64),
        np.asarray(dst, np.int64),
        ptr,
    )


@settings(max_examples=100, deadline=None)
@given(seeds, st.sampled_from(DIRECTIONS))
def test_classes_are_the_nested_multisets(seed, direction):
    batch = random_batch(seed)
    found = node_classes(batch, 3, direction, check=True)
    for classes, trees in zip(found, unfold(batch, 3, direction), strict=True):
        assert classes.dtype == np.int32
        assert same_partition(classes.tolist(), trees)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_classes_are_the_definition_on_networks(direction):
    rng = np.random.default_rng(0)
    space = frontends.spaces.get("nasbench201")
    batch = GraphBatch.concatenate(
        [space.graphs(space.sample(rng) for _ in range(60)), GraphBatch.from_graphs([resnet50(), ring_graph(3, 4)])]
    )
    found = node_classes(batch, 6, direction, check=True)
    assert all(
        same_partition(classes.tolist(), slow)
        for classes, slow in zip(found, numbered(batch, 6, direction), strict=True)
    )
    assert len(set(found[6].tolist())) > 1000


@settings(max_examples=60, deadline=None)
@given(seeds, st.sampled_from(DIRECTIONS))
def test_numbers_come_in_order_of_appearance_and_classes_only_split(seed, direction):
    found = node_classes(random_batch(seed), 4, direction)
    for coarse, fine in zip([np.zeros_like(found[0]), *found], found, strict=False):
        values, first = np.unique(fine, return_index=True)
        assert values.tolist() == list(range(len(values)))
        assert (np.diff(first) > 0).all()
        assert len(set(zip(coarse.tolist(), fine.tolist(), strict=True))) == len(values)


@settings(max_examples=60, deadline=None)
@given(seeds, st.sampled_from(DIRECTIONS))
def test_order_of_nodes_and_company_in_the_batch_do_not_matter(seed, direction):
    batch, rng = random_batch(seed, graphs=4), np.random.default_rng(seed)
    alone = node_classes(batch, 3, direction)

    place = rng.permutation(batch.num_nodes)  # across graphs, which the classes do not see
    order = np.argsort(place[batch.dst], kind="stable")
    kind = np.empty_like(batch.kind)
    kind[place] = batch.kind
    moved = node_classes(
        GraphBatch(batch.kinds, kind, place[batch.src][order], place[batch.dst][order], batch.ptr), 3, direction
    )
    assert all(same_partition(a.tolist(), b[place].tolist()) for a, b in zip(alone, moved, strict=True))

    nodes = batch.num_nodes
    more = GraphBatch.concatenate(
        [random_batch(seed + 1), batch, batch.select([3, 0]), random_batch(seed + 2, kinds=4)]
    )
    start = more.num_nodes - random_batch(seed + 2, kinds=4).num_nodes - batch.select([3, 0]).num_nodes - nodes
    beside = [classes[start : start + nodes] for classes in node_classes(more, 3, direction)]
    assert all(same_partition(a.tolist(), b.tolist()) for a, b in zip(alone, beside, strict=True))


def test_graphs_shuffled_are_the_same_classes():
    rng = np.random.default_rng(1)
    graphs = [random_graph(rng, 12, ops=("Add", "Mul", "ReLU")) for _ in range(10)]
    batch = GraphBatch.from_graphs([*graphs, *(shuffled(graph, rng) for graph in graphs)])
    half = batch.num_nodes // 2
    for direction in DIRECTIONS:
        for classes in node_classes(batch, 5, direction):
            assert np.array_equal(np.sort(classes[:half]), np.sort(classes[half:]))


def test_slots_do_not_count_here_and_count_for_colors():
    def difference(first, second):
        nodes = [
            Node("Input", shape=(4,)),
            Node("ReLU", (0,), ((4,),), (4,)),
            Node("Sub", (first, second), ((4,), (4,)), (4,)),
        ]
        return Graph((*nodes, Node("Output", (2,), ((4,),), (4,))))

    batch = GraphBatch.from_graphs([difference(0, 1), difference(1, 0), difference(1, 1)])
    last = np.asarray([3, 7, 11])
    classes, ordered = node_classes(batch, 3)[3][last], colors(batch, 3, "forward")[last]
    assert classes[0] == classes[1] != classes[2]  # a double edge is not a single one
    assert len(set(ordered.tolist())) == 3


def test_directions_are_told_apart():
    def chain(*ops):
        nodes = [Node("Input", shape=(4,))] + [Node(op, (i,), ((4,),), (4,)) for i, op in enumerate(ops)]
        return Graph((*nodes, Node("Output", (len(ops),), ((4,),), (4,))))

    batch = GraphBatch.from_graphs(
        [chain("ReLU", "Sigmoid", "Tanh"), chain("Tanh", "Sigmoid", "ReLU"), chain("Tanh", "Sigmoid", "Tanh")]
    )
    middle = np.asarray([2, 7, 12])
    seen = {direction: node_classes(batch, 1, direction)[1][middle].tolist() for direction in DIRECTIONS}
    assert [len(set(classes)) for classes in seen.values()] == [2, 2, 3]
    assert seen["forward"][1] == seen["forward"][2]
    assert seen["backward"][0] == seen["backward"][2]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_check_finds_every_collision(monkeypatch, direction):
    # Of a mixing function with few values some batches collide, and some do not.
    collisions = []
    for seed in range(120):
        batch, values = random_batch(seed, graphs=2, size=4), np.uint64((1, 4, 64)[seed % 3])
        exact = unfold(batch, 2, direction)
        monkeypatch.setattr(computation_trees, "mix", lambda x, values=values: x % values)
        found = node_classes(batch, 2, direction)
        collisions.append(not all(same_partition(a.tolist(), b) for a, b in zip(found, exact, strict=True)))
        if collisions[-1]:
            with pytest.raises(CgirError, match=r"depth [12]: two different multisets"):
                node_classes(batch, 2, direction, check=True)
        else:
            node_classes(batch, 2, direction, check=True)
    assert 20 < sum(collisions) < 100


def only(count):
    """Mixes in the first `count` calls, and then gives nothing but zeros."""
    calls = iter(range(10**6))
    return lambda x: x if next(calls) < count else np.zeros_like(x)


@pytest.mark.parametrize(
    ("calls", "kinds", "edges"),
    [
        (0, (0, 0, 0, 1), []),  # kinds
        (1, (0, 0, 0, 0), [(0, 1)]),  # how many neighbours
        (1, (0, 1, 2, 2), [(0, 2), (1, 3)]),  # which
    ],
)
def test_each_part_of_the_check_is_needed(monkeypatch, calls, kinds, edges):
    src, dst = np.asarray(edges, np.int64).reshape(-1, 2).T
    batch = GraphBatch(("a", "b", "c"), np.asarray(kinds), src, dst, np.asarray([0, 4]))
    for function in (node_classes, build_class_table):
        monkeypatch.setattr(computation_trees, "mix", mix)
        function(batch, 1, check=True)
        monkeypatch.setattr(computation_trees, "mix", only(calls))
        with pytest.raises(CgirError, match="depth 1: two different multisets"):
            function(batch, 1, check=True)


@settings(max_examples=100, deadline=None)
@given(seeds, st.sampled_from(["forward", "backward"]), st.integers(0, 3))
def test_a_table_says_what_every_class_is_made_of(seed, direction, depth):
    batch, cut = random_batch(seed, graphs=5), sorted(np.random.default_rng(seed).integers(0, 6, 2).tolist())
    parts = [batch.select(np.arange(*ends)) for ends in ((0, cut[0]), (cut[0], cut[1]), (cut[1], 5))]
    table, classes = build_class_table(iter(parts), depth, direction, check=True), node_classes(batch, depth, direction)
    assert np.array_equal(table.node_class, classes[-1])  # the same numbers, however the graphs are cut
    rows, heard = [table.node_class], neighbours(batch)[direction == "backward"]
    for layer in table.layers[::-1]:
        rows.insert(0, layer.parent[rows[0]])
    for found, expected in zip(rows, classes, strict=True):
        assert same_partition(found.tolist(), expected.tolist())
    assert [table.kinds[row] for row in rows[0]] == [batch.kinds[kind] for kind in batch.kind]
    for layer, coarse, fine in zip(table.layers, rows, rows[1:], strict=False):
        assert (len(layer.parent), layer.ptr[-1]) == (fine.max(initial=-1) + 1, len(layer.neighbours))
        for node, row in enumerate(fine):
            assert sorted(layer.neighbours[layer.ptr[row] : layer.ptr[row + 1]]) == sorted(
                coarse[u] for u in heard[node]
            )


def test_tables_of_batches_with_other_kinds_or_none_at_all():
    space = frontends.spaces.get("nasbench201")
    specs = list(space.enumerate())[7::487]
    batch, parts = space.graphs(specs), [space.graphs(specs[:10]), GraphBatch.from_graphs([]), space.graphs(specs[10:])]
    assert parts[2].kinds != batch.kinds
    whole, joined = build_class_table(batch, 6), build_class_table(parts, 6, check=True)
    assert sorted(whole.kinds, key=repr) == sorted(joined.kinds, key=repr)
    assert np.array_equal(whole.node_class, joined.node_class)
    rows, others = whole.node_class, joined.node_class
    for layer, other in zip(whole.layers[::-1], joined.layers[::-1], strict=True):
        rows, others = layer.parent[rows], other.parent[others]
        assert same_partition(rows.tolist(), others.tolist())
        assert len(layer.neighbours) == len(other.neighbours)
    assert [whole.kinds[row] for row in rows] == [joined.kinds[row] for row in others]
    nothing = build_class_table([], 2)
    assert (nothing.kinds, len(nothing.layers), len(nothing.node_class)) == ((), 2, 0)


def test_check_finds_collisions_between_batches(monkeypatch):
    batches = [
        GraphBatch((kind,), np.zeros(2, np.int64), *np.zeros((2, 0), np.int64), np.asarray([0, 2])) for kind in "ab"
    ]
    build_class_table(batches, 1, check=True)
    monkeypatch.setattr(computation_trees, "mix", np.zeros_like)
    for batch in batches:
        build_class_table(batch, 1, check=True)
    with pytest.raises(CgirError, match="depth 1: two different multisets"):
        build_class_table(batches, 1, check=True)


def test_edges_of_the_input():
    empty = GraphBatch.from_graphs([])
    assert [classes.shape for classes in node_classes(empty, 2, "both", check=True)] == [(0,)] * 3
    lonely = GraphBatch.from_graphs(
        [Graph((Node("Input", shape=(4,)),)), Graph(()), Graph((Node("Input", shape=(4,)),))]
    )
    assert [classes.tolist() for classes in node_classes(lonely, 2, check=True)] == [[0, 0]] * 3
    assert len(node_classes(lonely, 0)) == 1
    classes = node_classes(lonely, 1)
    classes[1][0] = 5  # arrays of one's own
    assert node_classes(lonely, 1)[1].tolist() == [0, 0]


@pytest.mark.parametrize("arguments", [(-1,), (2, "sideways")])
def test_what_does_not_exist_is_refused(arguments):
    with pytest.raises(
        CgirError, match=r"node_classes: depth=.*expected 0 or more, and one of 'forward', 'backward', 'both'"
    ):
        node_classes(GraphBatch.from_graphs([]), *arguments)


@pytest.mark.parametrize("arguments", [(-1,), (2, "both")])
def test_a_table_has_one_direction_and_a_depth(arguments):
    with pytest.raises(CgirError, match=r"build_class_table: depth=.*expected 0 or more, and 'forward' or 'backward'"):
        build_class_table([], *arguments)
