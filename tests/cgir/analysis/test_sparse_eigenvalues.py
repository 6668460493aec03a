"""Eigenvalues of large graphs against LAPACK, closed forms, and runs that miss some."""

import networkx as nx
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse

from benchmarks.large_graphs import FAMILIES, cycles, random_dag
from cgir import CgirError, spectrum
from cgir.analysis import sparse_eigenvalues
from cgir.analysis.laplacian_spectrum import normalized_laplacian
from cgir.analysis.sparse_eigenvalues import elimination_order, smallest_eigenvalues
from cgir.errors import LimitError
from cgir.limits import DEFAULT, Limits


def laplacian_of(graph):
    return scipy.sparse.csr_array(nx.normalized_laplacian_matrix(graph).astype(float))


def dense(laplacian, k):
    return scipy.linalg.eigvalsh(laplacian.toarray(), subset_by_index=[0, k - 1])


NETWORKS = {
    "path": nx.path_graph(900),
    "star": nx.star_graph(900),
    "complete tree": nx.balanced_tree(3, 6),
    "grid": nx.grid_2d_graph(25, 37),
    "torus": nx.grid_2d_graph(24, 24, periodic=True),  # eigenvalues of multiplicity 4
    "hypercube": nx.hypercube_graph(8),  # of multiplicity 8 and 28
    "bipartite": nx.complete_bipartite_graph(60, 80),  # of multiplicity 138
    "two hubs": nx.complete_bipartite_graph(2, 800),
    "expander": nx.random_regular_graph(4, 900, seed=1),
    "caveman": nx.connected_caveman_graph(60, 12),
    "components": nx.disjoint_union_all([nx.path_graph(300), nx.cycle_graph(300), nx.star_graph(200)]),
    "more components than values": nx.disjoint_union_all([nx.path_graph(30)] * 30),
    "isolated nodes": nx.disjoint_union(nx.path_graph(600), nx.empty_graph(5)),
    "random tree": nx.random_labeled_tree(800, seed=2),
    "lollipop": nx.lollipop_graph(60, 700),
}


@pytest.fixture(params=["order of SuperLU", "peeled", "polynomial"])
def way(request, monkeypatch):
    if request.param != "order of SuperLU":
        monkeypatch.setattr(sparse_eigenvalues, "SMALL", 0)
    if request.param == "polynomial":
        monkeypatch.setattr(sparse_eigenvalues, "elimination_order", lambda matrix: None)
    return request.param


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("k", [11, 3])
def test_lapack_finds_the_same(name, k, way):
    laplacian = laplacian_of(NETWORKS[name])
    if way == "polynomial" and name in ("path", "lollipop", "components", "isolated nodes"):
        return  # eigenvalues of 1e-6 are what the inverse is for
    np.testing.assert_allclose(smallest_eigenvalues(laplacian, k, DEFAULT), dense(laplacian, k), atol=1e-10)


@pytest.mark.parametrize("name", FAMILIES)
def test_families_against_lapack(name, monkeypatch):
    monkeypatch.setattr(sparse_eigenvalues, "SMALL", 0)
    graph = FAMILIES[name](1500)
    expected = scipy.linalg.eigvalsh(normalized_laplacian(graph))[:11]
    np.testing.assert_allclose(spectrum(graph)[0], expected, atol=1e-10)


def test_small_eigenvalues_have_relative_accuracy():
    n = 20_000
    expected = 2 * np.sin(np.pi * np.arange(11) / (n - 1) / 2) ** 2
    found = smallest_eigenvalues(laplacian_of(nx.path_graph(n)), 11, DEFAULT)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["torus", "bipartite", "caveman"])
def test_runs_that_miss_eigenvalues_are_noticed(name, way, monkeypatch):
    laplacian = laplacian_of(NETWORKS[name])
    honest, runs = sparse_eigenvalues.scipy.sparse.linalg.eigsh, []

    def forgetful(matrix, k, **options):
        """The first run of all leaves out the smallest, as if its start had no part of them."""
        if options.get("return_eigenvectors", True) is False:
            return honest(matrix, k, **options)
        runs.append(k)
        if len(runs) > 1:
            return honest(matrix, k, **options)
        values, vectors = honest(matrix, k + 4, **options)
        return values[:k], vectors[:, :k]

    monkeypatch.setattr(sparse_eigenvalues.scipy.sparse.linalg, "eigsh", forgetful)
    np.testing.assert_allclose(smallest_eigenvalues(laplacian, 11, DEFAULT), dense(laplacian, 11), atol=1e-10)
    assert len(runs) > 1


@pytest.mark.parametrize("name", NETWORKS)
def test_the_order_is_a_permutation_and_fills_little(name, monkeypatch):
    """Counted on the factor, against SuperLU's minimum degree order of the whole."""
    monkeypatch.setattr(sparse_eigenvalues, "SMALL", 0)
    laplacian = laplacian_of(NETWORKS[name])
    order = elimination_order(laplacian)
    assert sorted(order.tolist()) == list(range(laplacian.shape[0]))
    definite = (laplacian + scipy.sparse.eye_array(laplacian.shape[0])).tocsc()
    ours = sparse_eigenvalues._eliminate(definite[order][:, order], "NATURAL")
    assert ours.L.nnz <= 1.5 * sparse_eigenvalues._eliminate(definite, "MMD_AT_PLUS_A").L.nnz


def test_random_wiring_is_left_to_the_polynomial(monkeypatch):
    monkeypatch.setattr(sparse_eigenvalues, "SMALL", 0)
    monkeypatch.setattr(sparse_eigenvalues, "FACTOR_EFFORT", 1e7)
    laplacian = laplacian_of(NETWORKS["expander"])
    assert elimination_order(laplacian) is None
    np.testing.assert_allclose(smallest_eigenvalues(laplacian, 11, DEFAULT), dense(laplacian, 11), atol=1e-10)
    assert elimination_order(laplacian_of(NETWORKS["grid"])) is not None


def test_time_is_limited():
    with pytest.raises(LimitError, match=r"spectrum of a graph of 5,000 nodes .*limits=Limits\(seconds="):
        spectrum(random_dag(5000), limits=Limits(seconds=1e-9))
    assert issubclass(LimitError, CgirError)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_hundred_thousand_nodes(name):
    """Residuals and counts are checked by the solver; here closed forms where there are some, and the time."""
    graph = FAMILIES[name](100_000)
    found = spectrum(graph, limits=Limits(seconds=30))[0]
    assert found[0] == 0 < found[1]
    if name == "chain":
        np.testing.assert_allclose(found, 2 * np.sin(np.pi * np.arange(11) / (len(graph) - 1) / 2) ** 2, atol=1e-12)
    if name == "fan":
        # between two hubs: all combinations of equal nodes that sum to 0
        np.testing.assert_allclose(found[2:], 1, atol=1e-10)


@pytest.mark.slow
def test_closed_forms_of_a_hundred_thousand_nodes():
    n = 100_000
    ring = smallest_eigenvalues(laplacian_of(nx.cycle_graph(n)), 11, DEFAULT)
    np.testing.assert_allclose(ring, 2 * np.sin(np.pi * ((np.arange(11) + 1) // 2) / n) ** 2, rtol=1e-5, atol=1e-15)
    star = smallest_eigenvalues(laplacian_of(nx.star_graph(n - 1)), 11, DEFAULT)
    np.testing.assert_allclose(star, [0, *[1] * 10], atol=1e-10)
    two = spectrum(cycles([n // 4, n // 4]), limits=Limits(seconds=30))[0]
    assert (np.diff(two) >= 0).all()
