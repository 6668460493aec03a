"""Pairs of graphs that colour refinement cannot tell apart, as computation graphs."""

from collections import Counter
from itertools import combinations, product

import networkx as nx

from benchmarks.large_graphs import undirected
from cgir.ops import OPS


def network_of(graph, name="g"):
    """A networkx graph: vertices read the input, edges add both ends; `color` of a vertex is its number of ReLUs."""
    index = {vertex: number for number, vertex in enumerate(graph)}
    return undirected(len(index), [(index[a], index[b]) for a, b in graph.edges], name)


def cfi(base, twisted):
    """The graph of Cai, Fürer and Immerman (1992) over a connected networkx graph; one edge crossed if `twisted`.

    A vertex of degree d becomes 2^(d - 1) vertices, one for each even set of its edges, and 2 for each edge's end.
    """
    out = nx.Graph()
    for v in base:
        ends = sorted(base[v])
        for size in range(0, len(ends) + 1, 2):
            for chosen in combinations(ends, size):
                for w in ends:
                    out.add_edge((v, chosen), (v, w, w in chosen))
    for number, (v, w) in enumerate(base.edges):
        for side in (False, True):
            out.add_edge((v, w, side), (w, v, side ^ (twisted and not number)))
    return out


def cubic(vertices, seed=0):
    """A connected random graph of degree 3."""
    found = (nx.random_regular_graph(3, vertices, seed + step) for step in range(0, 10**6, 1000))
    return next(graph for graph in found if nx.is_connected(graph))


def rook(size=4):
    """The rook's graph, of squares that share a row or a column: strongly regular, (16, 6, 2, 2) for size 4."""
    return nx.line_graph(nx.complete_bipartite_graph(size, size))


def shrikhande():
    """Shrikhande's graph, strongly regular with the parameters of the rook's graph of size 4."""
    steps = (0, 1), (1, 0), (1, 1)
    out = nx.Graph()
    for a, b in product(range(4), repeat=2):
        out.add_edges_from((((a, b), ((a + x) % 4, (b + y) % 4)) for x, y in steps))
    return out


def ladder(rungs, crossed):
    """Two rings joined by rungs, or one ring with its opposite vertices joined (Moebius' ladder)."""
    return nx.circulant_graph(2 * rungs, [1, rungs]) if crossed else nx.circular_ladder_graph(rungs)


def as_digraph(graph):
    """The same structure for networkx: an edge has the multiset of its slots, shared parameters are nodes."""
    out, edges = nx.DiGraph(), Counter()
    for index, node in enumerate(graph.nodes):
        out.add_node(index, label=repr(node.kind))
        for slot, source in enumerate(node.inputs):
            edges[source, index, "any" if OPS[node.op].commutative else f"in{slot}"] += 1
    uses = Counter(param.id for node in graph.nodes for param in node.params)
    for index, node in enumerate(graph.nodes):
        for slot, param in enumerate(node.params):
            if uses[param.id] > 1:
                out.add_node(param.id, label="shared")
                edges[param.id, index, f"param{slot}"] += 1
    for (source, target, label), count in sorted(edges.items(), key=repr):
        known = out.edges[source, target]["label"] if out.has_edge(source, target) else ()
        out.add_edge(source, target, label=(*known, (label, count)))
    return out


def oracle(a, b):
    """What networkx says."""

    def match(x, y):
        return x["label"] == y["label"]

    return nx.is_isomorphic(as_digraph(a), as_digraph(b), node_match=match, edge_match=match)


def is_isomorphism(a, b, match):
    """The definition: whether the nodes `match` of `b` are the nodes of `a`."""
    if sorted(match.tolist()) != list(range(len(b))):
        return False
    pairs = [(node, b.nodes[match[index]]) for index, node in enumerate(a.nodes)]
    params = {(p.id, q.id) for node, other in pairs for p, q in zip(node.params, other.params, strict=True)}
    one_to_one = len(params) == len({p for p, _ in params}) == len({q for _, q in params})
    inputs = [(tuple(match[list(node.inputs)].tolist()), other.inputs, node.op) for node, other in pairs]
    return (
        one_to_one
        and all(node.kind == other.kind for node, other in pairs)
        and all((sorted(x) == sorted(y)) if OPS[op].commutative else x == y for x, y, op in inputs)
    )
