"""Spectra of whole search spaces, and what distances know of accuracy: `python -m benchmarks.spectrum [--write]`.

Graphs are given and their construction is not counted; Laplacians are built by each tool within its time. BLAS has one
thread everywhere; `cgir.spectrum` uses all processors by itself, so peers are compared by processor time. The
distances' table reads CGIR_DATA.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable
from math import log2
from time import perf_counter, process_time
from typing import Any, NamedTuple

import networkx as nx
import numpy as np
import scipy.linalg
import scipy.sparse
import torch
from scipy.sparse.csgraph import laplacian
from scipy.sparse.linalg import eigsh
from scipy.spatial.distance import cdist
from scipy.stats import rankdata, spearmanr
from threadpoolctl import threadpool_limits
from tqdm import tqdm

import cgir
import frontends
from cgir.analysis.laplacian_spectrum import PADDING, K
from cgir.analysis.weisfeiler_lehman import graph_hashes
from cgir.cost import kind_flops
from cgir.graph_batch import GraphBatch
from cgir.typing import FloatArray, IntArray
from frontends import tables

from .report import Table, publish, show

SPACES = ("nasbench201", "nasbench101")
DISTINCT = ("nasbench201", "nasbench101", "darts", "ofa_mbv3", "transnas_macro")
LABELS: tuple[tuple[str, str, dict[str, float]], ...] = (
    ("nasbench201", "cifar10_test_200ep_mean", {}),
    ("nasbench101", "cifar10_val_acc_108ep_1run", {}),
    ("nasbench_macro", "cifar10_test_acc_mean", {}),
    ("darts", "cifar10_valid_acc_50ep", {}),
    ("transnas_micro", "class_object_val_metric", {}),
    ("transnas_macro", "class_object_val_metric", {}),
    ("ofa_mbv3", "imagenet_val_top1", {"resolution": 224}),
    ("ofa_mbv3", "imagenet_val_top1", {}),
    ("nasbench_nlp", "val_loss_50ep", {}),
)
LABELLED, NEIGHBOURS, DRAWS = 50, 3, 20


class Wiring(NamedTuple):
    """What the peers are given: number of nodes, and both ends of every edge."""

    nodes: int
    src: IntArray
    dst: IntArray

    def sparse(self) -> Any:
        """The simple undirected graph's adjacency matrix."""
        ends = np.concatenate([self.src, self.dst]), np.concatenate([self.dst, self.src])
        matrix = scipy.sparse.coo_array((np.ones(2 * len(self.src)), ends), shape=(self.nodes, self.nodes)).tocsr()
        matrix.data[:] = 1.0
        return matrix


def wirings(batch: GraphBatch) -> list[Wiring]:
    """One for every graph."""
    edges = batch.edge_ptr
    parts = zip(batch.ptr[:-1], batch.ptr[1:], edges[:-1], edges[1:], strict=True)
    return [Wiring(int(stop - first), batch.src[a:b] - first, batch.dst[a:b] - first) for first, stop, a, b in parts]


def padded(rows: list[FloatArray]) -> FloatArray:
    """(G, K), as `cgir.spectrum` pads."""
    return np.stack([np.concatenate([row[:K], np.full(max(0, K - len(row)), PADDING)]) for row in rows])


def with_networkx(graphs: list[nx.Graph]) -> FloatArray:
    """One by one."""
    return padded([np.sort(nx.normalized_laplacian_spectrum(graph).real) for graph in graphs])


def with_eigsh(graphs: list[Wiring]) -> FloatArray:
    """One by one, shift-invert; matrices that are too small for ARPACK go to LAPACK."""
    rows = []
    for graph in graphs:
        matrix = laplacian(graph.sparse(), normed=True).tocsc()
        rows.append(
            np.sort(eigsh(matrix, K, sigma=-1e-2, return_eigenvectors=False))
            if graph.nodes > K
            else np.linalg.eigvalsh(matrix.toarray())
        )
    return padded(rows)


def with_numpy(graphs: list[Wiring]) -> FloatArray:
    """One by one."""
    return padded([np.linalg.eigvalsh(laplacian(graph.sparse().toarray(), normed=True)) for graph in graphs])


def with_torch(graphs: list[Wiring]) -> FloatArray:
    """Graphs with equally many nodes together, float64."""
    by_size: dict[int, list[int]] = {}
    for index, graph in enumerate(graphs):
        by_size.setdefault(graph.nodes, []).append(index)
    rows: list[FloatArray] = [np.zeros(0)] * len(graphs)
    for n, chosen in by_size.items():
        adjacency = torch.zeros(len(chosen), n, n, dtype=torch.float64)
        for row, index in enumerate(chosen):
            src, dst = torch.from_numpy(graphs[index].src), torch.from_numpy(graphs[index].dst)
            adjacency[row, src, dst] = adjacency[row, dst, src] = 1.0
        degree = adjacency.sum(2)
        scale = degree.clamp(min=1).rsqrt()
        matrices = torch.diag_embed((degree > 0).double()) - adjacency * scale[:, :, None] * scale[:, None, :]
        for index, row_values in zip(chosen, torch.linalg.eigvalsh(matrices).numpy(), strict=True):
            rows[index] = row_values
    return padded(rows)


def with_lapack(graphs: list[Wiring]) -> FloatArray:
    """What errors are measured against: dense float64 by bisection, which none of the others use."""
    problems = [(laplacian(graph.sparse().toarray(), normed=True), min(graph.nodes, K) - 1) for graph in graphs]
    return padded(
        [
            scipy.linalg.eigh(matrix, eigvals_only=True, subset_by_index=[0, last], driver="evx")
            for matrix, last in problems
        ]
    )


def simple(graph: Wiring) -> nx.Graph:
    """For networkx."""
    found = nx.empty_graph(graph.nodes)
    found.add_edges_from(zip(graph.src.tolist(), graph.dst.tolist(), strict=True))
    return found


PEERS: dict[str, Callable[[list[Any]], FloatArray]] = {
    "networkx normalized_laplacian_spectrum": with_networkx,
    "scipy eigsh, shift-invert": with_eigsh,
    "numpy eigvalsh": with_numpy,
    "torch eigvalsh, batched": with_torch,
}


class Whole(NamedTuple):
    """A space solved at once: `spent` is processor time, `values` of the sampled graphs."""

    graphs: int
    nodes: int
    seconds: float
    spent: float
    values: FloatArray
    distinct: int


def whole(batch: GraphBatch, sample: IntArray) -> Whole:
    """`cgir.spectrum` of all graphs."""
    start, spent = perf_counter(), process_time()
    values = cgir.spectrum(batch)
    seconds, spent = perf_counter() - start, process_time() - spent
    return Whole(
        len(batch), batch.num_nodes, seconds, spent, values[sample], len(np.unique(np.round(values, 8), axis=0))
    )


def space_tables(names: tuple[str, ...], count: int) -> list[Table]:
    """Whole spaces, and peers on `count` graphs of each."""
    spaces: list[tuple[str, ...]] = []
    peers: list[tuple[str, ...]] = []
    for name in tqdm(names, "spaces"):
        space = frontends.spaces.get(name)
        batch = space.graphs(space.enumerate())
        sample = np.sort(np.random.default_rng(0).choice(len(batch), min(count, len(batch)), replace=False))
        found = whole(batch, sample)
        few = batch.select(sample)
        del batch
        spaces.append(
            (
                name,
                f"{found.graphs:,}",
                f"{found.nodes:,}",
                f"{found.distinct:,}",
                f"{found.seconds:.1f}",
                f"{found.spent:.1f}",
            )
        )
        peers += [(name, *row) for row in peer_rows(few, found)]
    columns = ("space", "graphs", "nodes", "distinct spectra", "seconds", "processor seconds")
    caption = f"processor time per graph; peers on {count} random graphs of the space"
    return [
        Table(f"whole spaces, on {os.cpu_count()} processors", columns, tuple(spaces)),
        Table(caption, ("space", "tool", "ms a graph", "times cgir's", "largest error"), tuple(peers)),
    ]


def peer_rows(few: GraphBatch, found: Whole) -> list[tuple[str, str, str, str]]:
    """The whole space's share of each graph, then every tool on a few of its graphs."""
    graphs = wirings(few)
    exact = with_lapack(graphs)
    unit = found.spent / found.graphs
    rows = [("cgir.spectrum, the whole space", f"{1e3 * unit:.3f}", "1", f"{np.abs(found.values - exact).max():.0e}")]
    given: dict[str, tuple[Callable[[Any], FloatArray], Any]] = {
        f"cgir.spectrum, {len(few)} graphs of it": (cgir.spectrum, few)
    }
    given |= {
        peer: (solve, [simple(graph) for graph in graphs] if solve is with_networkx else graphs)
        for peer, solve in PEERS.items()
    }
    for tool, (solve, problem) in given.items():
        start = process_time()
        values = solve(problem)
        each = (process_time() - start) / len(graphs)
        rows.append((tool, f"{1e3 * each:.3f}", f"{each / unit:.0f}", f"{np.abs(values - exact).max():.0e}"))
    return rows


def weighted_spectrum(batch: GraphBatch) -> FloatArray:
    """The rejected alternative: the geometric mean of 1 + log2(1 + FLOPs) of its nodes weights an edge.

    Chung, section 1.4, with loops.
    """
    weight = np.asarray([1 + log2(1 + kind_flops(kind)) for kind in batch.kinds])[batch.kind]
    rows = []
    for graph, start in zip(wirings(batch), batch.ptr, strict=False):
        own = weight[start : start + graph.nodes]
        matrix = (graph.sparse() + scipy.sparse.eye_array(graph.nodes)).toarray() * np.sqrt(own[:, None] * own)
        scale = 1 / np.sqrt(matrix.sum(axis=1))
        rows.append(np.linalg.eigvalsh(np.eye(graph.nodes) - matrix * scale[:, None] * scale))
    return padded(rows)


def distances(batch: GraphBatch) -> dict[str, FloatArray]:
    """The table of distances of all graphs of a batch, for each way to compare them."""
    features = cgir.wl_features(batch)
    flops = np.asarray([kind_flops(kind) for kind in batch.kinds], np.float64)[batch.kind]
    total = np.log(1 + np.bincount(batch.graph_of_node, flops, minlength=len(batch)))[:, None]
    values = {
        "log FLOPs": total,
        "spectrum": cgir.spectrum(batch),
        "spectrum weighted by FLOPs": weighted_spectrum(batch),
    }
    return {name: np.asarray(cdist(value, value)) for name, value in values.items()} | {
        "wl_distance, normalized": np.asarray(cgir.wl_distance(features, features, normalized=True)),
        "wl_distance": np.asarray(cgir.wl_distance(features, features)),
    }


def distinct_table(count: int) -> Table:
    """How many graphs of a space each of the two distances distinguishes."""
    rows = []
    for name in tqdm(DISTINCT, "distinct"):
        space = frontends.spaces.get(name)
        rng = np.random.default_rng(0)
        batch = space.graphs(space.enumerate() if name == "nasbench201" else [space.sample(rng) for _ in range(count)])
        spectra = np.unique(np.round(cgir.spectrum(batch), 8), axis=0)
        start = process_time()
        features = cgir.wl_features(batch)
        seconds = process_time() - start
        parts = zip(features.indptr[:-1], features.indptr[1:], strict=True)
        subtrees = {(features.indices[a:b].tobytes(), features.data[a:b].tobytes()) for a, b in parts}
        graphs = len(set(graph_hashes(batch)))
        rows.append(
            (
                name,
                f"{len(batch):,}",
                f"{graphs:,}",
                f"{len(spectra):,}",
                f"{len(subtrees):,}",
                f"{1e3 * seconds / len(batch):.2f}",
            )
        )
    columns = (
        "space",
        "networks",
        "distinct graphs",
        "distinct spectra",
        "distinct subtree features",
        "ms a graph for subtree features",
    )
    return Table("what distances tell apart", columns, tuple(rows))


def knowledge(table: FloatArray, accuracy: FloatArray) -> tuple[float, float]:
    """Spearman's rho of distances with differences of ranked accuracy, and of 1-nearest-neighbour predictions."""
    rank = rankdata(accuracy) / len(accuracy)
    pairs = np.triu_indices(len(rank), 1)
    gaps = spearmanr(table[pairs], np.abs(rank[pairs[0]] - rank[pairs[1]])).statistic
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(DRAWS):
        order = rng.permutation(len(rank))
        known, hidden = order[:LABELLED], order[LABELLED:]
        # ties at random
        near = np.argsort(table[np.ix_(hidden, known)] + 1e-9 * rng.random((len(hidden), LABELLED)), axis=1)[
            :, :NEIGHBOURS
        ]
        scores.append(spearmanr(rank[known][near].mean(axis=1), rank[hidden]).statistic)
    return float(gaps), float(np.mean(scores))


def label_table(count: int) -> Table:
    """What each distance knows of accuracy."""
    rows: list[tuple[str, ...]] = []
    for name, metric, only in tqdm(LABELS, "labels"):
        table = tables.load(name).only(**only)
        labelled = np.flatnonzero(np.isfinite(table[metric]))
        chosen = np.random.default_rng(1).choice(labelled, min(count, len(labelled)), replace=False)
        for kind, found in distances(table.graphs(chosen)).items():
            gaps, near = knowledge(found, table[metric][chosen])
            place = " ".join((name, *(f"{key}={value}" for key, value in only.items())))
            rows.append((place, metric, f"{len(chosen)}", kind, f"{gaps:.2f}", f"{near:.2f}"))
    about = f"{NEIGHBOURS} nearest of {LABELLED} labels, mean of {DRAWS} draws"
    return Table(
        "what distances know of accuracy", ("table", "metric", "networks", "distance", "pairs", about), tuple(rows)
    )


def main() -> None:
    """Measure, print, and with `--write` keep the tables for RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spaces", nargs="*", default=SPACES, choices=SPACES, help="solved as a whole (default: all)")
    parser.add_argument(
        "--peers", type=int, default=300, help="graphs of each space for the peers (default %(default)s)"
    )
    parser.add_argument(
        "--distinct", type=int, default=2000, help="random networks of each space to tell apart (default %(default)s)"
    )
    parser.add_argument("--labels", type=int, default=800, help="networks of each label table (default %(default)s)")
    parser.add_argument("--write", action="store_true", help="keep the result for RESULTS.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="spmatrix|.*sparse")
    with threadpool_limits(limits=1):
        knowing = label_table(options.labels)  # first, because it alone fails without CGIR_DATA
        measured = [*space_tables(tuple(options.spaces), options.peers), distinct_table(options.distinct), knowing]
    show(measured)
    if options.write:
        about = (
            "The 11 smallest eigenvalues of every graph's normalised Laplacian, float64; constructing the graphs is "
            "not counted, BLAS has one thread. Errors are against LAPACK's bisection on dense matrices. `pairs`: "
            "Spearman of distance and difference of ranked accuracy, over all pairs. `wl_distance` was chosen by its "
            "scores on nasbench201, nasbench101 and nasbench_macro, and those on darts, transnas and ofa were seen "
            "meanwhile, so only nasbench_nlp is blind; the networks and labels here are drawn with another seed."
        )
        publish("spectrum", "Spectra and distances", about, "python -m benchmarks.spectrum --write", measured)


if __name__ == "__main__":
    main()
