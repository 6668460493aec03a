"""Exact isomorphism of large and of hard graphs: `python -m benchmarks.isomorphism [--write]`.

Each graph is compared with a copy whose nodes and inputs are in another order, or with a graph that has the same hash
but is not isomorphic. Seconds are processor time; hashes are not counted, nor is the conversion for networkx, which
compares labelled graphs that are built before.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from itertools import combinations
from resource import RLIMIT_CPU, setrlimit
from time import process_time

import networkx as nx
import numpy as np
from tqdm import tqdm

from cgir import Graph, LimitError, Limits
from cgir.analysis.isomorphism import isomorphism
from cgir.analysis.isomorphism_search import Search
from cgir.analysis.weisfeiler_lehman import param_groups

from .large_graphs import FAMILIES, cycles, reordered, undirected
from .report import Table, publish, show

SIZES = (1_000, 10_000, 100_000)
SECONDS, PEER_SECONDS = 120.0, 5  # limits of processor time


def cai_fuerer_immerman(base: int, twisted: bool) -> Graph:
    """The graph over a random cubic graph: 10 vertices for each of its vertices; `twisted` with one edge crossed."""
    found = (nx.random_regular_graph(3, base, seed) for seed in range(100))
    cubic = next(graph for graph in found if nx.is_connected(graph))
    out = nx.Graph()
    for v in cubic:
        for chosen in [(), *combinations(sorted(cubic[v]), 2)]:
            out.add_edges_from(((v, chosen), (v, w, w in chosen)) for w in cubic[v])
    for number, (v, w) in enumerate(cubic.edges):
        out.add_edges_from(((v, w, side), (w, v, side ^ (twisted and not number))) for side in (False, True))
    index = {vertex: number for number, vertex in enumerate(out)}
    return undirected(len(index), [(index[a], index[b]) for a, b in out.edges], "CFI")


def hard_pairs() -> dict[str, tuple[Graph, Graph]]:
    """Pairs that colours cannot tell apart, isomorphic or not."""
    pairs = {}
    for rings in (5, 1000):
        pairs[f"{rings:,} rings of 6; {rings - 2:,} and one of 12"] = (
            cycles([6] * rings),
            cycles([6] * (rings - 2) + [12]),
        )
    for base in (4, 10, 16, 24, 48):
        plain = cai_fuerer_immerman(base, False)
        pairs[f"Cai, Fürer, Immerman, {10 * base} vertices; a copy"] = plain, reordered(plain, np.random.default_rng(0))
        pairs[f"Cai, Fürer, Immerman, {10 * base} vertices; twisted"] = plain, cai_fuerer_immerman(base, True)
    cubic, cubic_too = (nx.random_regular_graph(3, 1000, seed) for seed in (0, 1))
    first, second = (undirected(1000, list(graph.edges), "cubic") for graph in (cubic, cubic_too))
    pairs["random cubic, 1,000 vertices; a copy"] = first, reordered(first, np.random.default_rng(0))
    pairs["random cubic, 1,000 vertices; another"] = first, second
    return pairs


def ours(a: Graph, b: Graph) -> tuple[str, float, float]:
    """The answer, seconds, and the search's effort for each node."""
    search, start = Search(Limits(seconds=SECONDS)), process_time()
    try:
        answer = "yes" if isomorphism(a, b, search) is not None else "no"
    except LimitError:
        answer = "beyond the limit"
    return answer, process_time() - start, search.effort / len(a)


def labelled(graph: Graph) -> nx.DiGraph:
    """The graph for networkx, without argument slots and parallel edges, which none of these needs."""
    assert param_groups(graph) is None
    out = nx.DiGraph()
    out.add_nodes_from((index, {"kind": node.kind}) for index, node in enumerate(graph.nodes))
    out.add_edges_from((source, index) for index, node in enumerate(graph.nodes) for source in node.inputs)
    return out


def peer(a: Graph, b: Graph) -> tuple[str, float]:
    """The same with VF2++ of networkx (Juettner and Madarasi, 2018), in a process that ends after `PEER_SECONDS`."""
    first, second = labelled(a), labelled(b)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        setrlimit(RLIMIT_CPU, (PEER_SECONDS, PEER_SECONDS))
        start = process_time()
        answer = "yes" if nx.vf2pp_is_isomorphic(first, second, node_label="kind") else "no"
        os.write(writer, f"{answer} {process_time() - start}".encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        answer, _, seconds = file.read().partition(" ")
    os.waitpid(child, 0)
    return answer, float(seconds or PEER_SECONDS)


def peer_cell(a: Graph, b: Graph, answer: str, seconds: float) -> str:
    """The peer's seconds, and how many times ours they are."""
    found, spent = peer(a, b)
    if not found:
        return f"> {PEER_SECONDS}"
    assert found == answer or answer not in ("yes", "no")
    return f"{spent:.3f} ({spent / seconds:.1f}x)"


def family_table(sizes: Sequence[int]) -> Table:
    """Large graphs against a copy of themselves."""
    rows = []
    for name, family in tqdm(FAMILIES.items()):
        cells, spent, efforts = [], [], []
        for size in sizes:
            graph = family(size)
            copy = reordered(graph, np.random.default_rng(0))
            answer, seconds, effort = ours(graph, copy)
            assert answer == "yes"
            cells.append(f"{seconds:.2f}")
            spent.append(seconds)
            efforts.append(effort)
            if size == sizes[0]:
                theirs = peer_cell(graph, copy, answer, seconds)
        rows.append((name, *cells, f"{spent[-1] / spent[-2]:.1f}", f"{efforts[-2]:.1f}, {efforts[-1]:.1f}", theirs))
    columns = (
        "graph", *(f"{size:,} nodes, s" for size in sizes), "growth of the last step",
        "search, effort per node (last two)", f"VF2++, {sizes[0]:,} nodes, s (times ours)",
    )  # fmt: skip
    return Table("A graph and a copy in another order: yes", columns, tuple(rows))


def pair_table() -> Table:
    """Pairs with equal hashes that are hard."""
    rows = []
    for name, (a, b) in tqdm(hard_pairs().items()):
        assert a.hash == b.hash
        answer, seconds, effort = ours(a, b)
        rows.append((name, f"{len(a):,}", answer, f"{seconds:.2f}", f"{effort:,.0f}", peer_cell(a, b, answer, seconds)))
    columns = ("pair", "nodes", "isomorphic", "s", "search, effort per node", "VF2++, s (times ours)")
    return Table("Pairs with one hash", columns, tuple(rows))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and with `--write` keep the tables for RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="keep the result for RESULTS.md")
    options = parser.parse_args(arguments)
    found = [family_table(SIZES), pair_table()]
    show(found)
    if options.write:
        about = (
            "Exact answers, with the map of nodes that proves a yes. Every graph is compared with a copy whose nodes "
            "and inputs are in another order, or with one of the same hash. Seconds are processor time; hashes are not "
            f"counted. VF2++ is networkx {nx.__version__}'s, in a process that ends after {PEER_SECONDS} s of "
            "processor time; argument slots and parallel edges are left out for it. Effort counts vertices and links "
            "that the search looks at; 0: colours and components decide."
        )
        publish(
            "isomorphism", "Isomorphism of large and of hard graphs", about,
            "python -m benchmarks.isomorphism --write", found,
        )  # fmt: skip


if __name__ == "__main__":
    main()
