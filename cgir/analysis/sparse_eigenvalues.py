"""The smallest eigenvalues of the normalised Laplacian of one large sparse graph, without an (n, n) matrix.

The kernel is known: one vector a component, the square roots of its degrees (Chung, "Spectral Graph Theory", lemma
1.7), and is projected out, so that Lanczos runs (ARPACK) see the positive eigenvalues alone. Where the graph is cheap
to eliminate, as chains, trees, fans, stacks of blocks and grids are, they run on the inverse, whose largest eigenvalues
stand far apart even where those of a chain of 100,000 nodes differ by 1e-9. Where it is not, because the graph is an
expander (random wiring), no eigenvalue but 0 is small, and a Chebyshev polynomial of the Laplacian takes the inverse's
place (Saad, "Numerical Methods for Large Eigenvalue Problems", section 7.4).

What is guaranteed: each value is one of an eigenvalue within its residual, at most `TOLERANCE`. That none was missed,
multiplicities included, is proved by Sylvester's law of inertia where the graph could be eliminated; else, or where
rounding makes that count too high, it rests on another run, from another start and orthogonal to all that was found,
which met nothing smaller.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.csgraph
import scipy.sparse.linalg

from cgir.errors import LimitError
from cgir.limits import Limits
from cgir.typing import FloatArray, IntArray

TOLERANCE = 1e-10
ROUGH = 1e-2  # relative, for what only says where to look
SHIFT = 1e-11  # keeps the matrix that is inverted definite; far below what distinguishes eigenvalues
PEELED_DEGREE = 24  # nodes with at most as many neighbours are eliminated first
FACTOR_EFFORT = 1e10  # multiplications; more is left to the polynomial
SMALL = 4_000  # nodes; up to these, the dense solver of LAPACK helps out
DEGREE = 16  # of the polynomial
RESTARTS = 6  # of a run on an inverse, after which a better shift is looked for

Apply = Callable[[FloatArray], FloatArray]


class _Sparse(NamedTuple):
    """A Laplacian and how to solve with it.

    `kernel`, `component`: values of the kernel's vectors, and the component of each node; `order`: to eliminate in,
    None where none is cheap; `shift`: that is subtracted before the inverse is taken, below all eigenvalues but 0;
    `restarts`: of a Lanczos run, None for any number.
    """

    matrix: scipy.sparse.csr_array
    kernel: FloatArray
    component: IntArray
    order: IntArray | None
    shift: float = -SHIFT
    restarts: int | None = None


def smallest_eigenvalues(laplacian: scipy.sparse.csr_array, k: int, limits: Limits) -> FloatArray:
    """The k smallest eigenvalues, ascending.

    Args:
        laplacian: normalised, (n, n), with n well above k.
        k: how many.
        limits: of seconds of one processor.

    Raises:
        LimitError: they were not found in time, or could not be told apart.
    """
    count, component = scipy.sparse.csgraph.connected_components(laplacian, directed=False)
    if count >= k:
        return np.zeros(k)
    n = laplacian.shape[0]
    where = f"spectrum of a graph of {n:,} nodes and {(laplacian.nnz - n) // 2:,} edges"
    try:
        found = _positive(_Sparse(laplacian, _kernel(laplacian, component), component, None), k - count, limits, where)
    except (RuntimeError, scipy.sparse.linalg.ArpackError) as error:  # a singular factor, or no convergence
        if n > SMALL:
            raise LimitError(f"{where}: the {k} smallest eigenvalues were not found: {error}") from error
        return np.asarray(scipy.linalg.eigvalsh(laplacian.toarray(), subset_by_index=[0, k - 1]))
    return np.concatenate([np.zeros(count), found])


def _kernel(laplacian: scipy.sparse.csr_array, component: IntArray) -> FloatArray:
    """The values of the kernel's vectors, which do not overlap, each of norm 1."""
    degree = np.maximum(np.diff(laplacian.indptr) - (laplacian.diagonal() != 0), 1).astype(float)
    norm: FloatArray = np.sqrt(np.bincount(component, degree))
    return np.asarray(np.sqrt(degree) / norm[component])


def _positive(problem: _Sparse, k: int, limits: Limits, where: str) -> FloatArray:
    """The k smallest positive eigenvalues, in runs that are orthogonal to what those before found."""
    start = time.thread_time()

    def checked(apply: Apply) -> Apply:
        def run(x: FloatArray) -> FloatArray:
            limits.check("seconds", round(time.thread_time() - start, 1), where)
            return apply(x)

        return run

    order = elimination_order(problem.matrix)
    problem = problem._replace(order=order, restarts=None if order is None else RESTARTS)
    vectors = np.zeros((problem.matrix.shape[0], 0))
    values = np.zeros(0)
    project = checked(lambda x: _without(_without_kernel(problem, x), vectors))
    operator = _inverse(problem) if problem.order is not None else _polynomial(problem, project, k)
    wanted = k
    while True:
        try:
            new, basis = _lanczos(problem, operator, project, wanted, len(values))
        except scipy.sparse.linalg.ArpackNoConvergence:
            problem = _closer(problem, operator, project, k)
            operator = _inverse(problem)
            continue
        before, values = np.sort(values)[:k], np.concatenate([values, new])
        vectors = np.concatenate([vectors, basis], axis=1)
        smallest = np.sort(values)[:k]
        bound = smallest[-1] - min(TOLERANCE, 1e-3 * smallest[-1])
        if len(before) == k and new.min() > before[-1] - TOLERANCE:
            return smallest
        missing = _num_missing(problem, values, bound)
        if missing is not None and missing <= 0:
            return smallest
        wanted = min(missing or 1, k)


def _num_missing(problem: _Sparse, values: FloatArray, bound: float) -> int | None:
    """How many eigenvalues below `bound` are neither 0 nor among `values`; None: elimination cannot tell."""
    if problem.order is None:
        return None
    try:
        below = _num_below(problem, bound)
    except RuntimeError:  # a pivot is 0, or rows were exchanged
        return None
    return below - int(problem.component.max() + 1) - int((values < bound).sum())


def _without(x: FloatArray, vectors: FloatArray) -> FloatArray:
    return x - vectors @ (vectors.T @ x) if vectors.shape[1] else x


def _without_kernel(problem: _Sparse, x: FloatArray) -> FloatArray:
    """The part of x orthogonal to the kernel."""
    overlap = np.bincount(problem.component, problem.kernel * x)
    return x - problem.kernel * overlap[problem.component]


def _lanczos(problem: _Sparse, operator: Apply, project: Apply, k: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Eigenvalues of the Laplacian for the k largest of a function of it, and their vectors.

    Args:
        problem: the Laplacian.
        operator: applies the function.
        project: on what is searched.
        k: how many.
        seed: of the start; ARPACK's own would make results differ from run to run.

    Raises:
        RuntimeError: residuals are larger than `TOLERANCE`.
    """
    n = problem.matrix.shape[0]
    start = project(np.random.default_rng(seed).standard_normal(n))
    projected = _projected(operator, project, n)
    _, basis = scipy.sparse.linalg.eigsh(
        projected, k, which="LA", v0=start, ncv=max(20, 3 * k), tol=TOLERANCE / 100, maxiter=problem.restarts
    )
    image = problem.matrix @ basis
    values: FloatArray = np.einsum("ij,ij->j", basis, image)
    residual = np.linalg.norm(image - basis * values, axis=0).max()
    if residual > TOLERANCE:
        raise RuntimeError(f"residual {residual:.1e}")
    return values, basis


def _polynomial(problem: _Sparse, project: Apply, k: int) -> Apply:
    """A Chebyshev polynomial of the Laplacian, large and falling up to about its k-th eigenvalue, within 1 above."""
    n = problem.matrix.shape[0]
    rough = _roughly(lambda x: 2 * x - problem.matrix @ x, project, n, k)
    edge = 2 - 0.98 * rough.min()  # above the k-th eigenvalue, as all values of Ritz, even if half of all equal it
    center, radius = (2 + edge) / 2, (2 - edge) / 2
    scaled = ((scipy.sparse.eye_array(n) * center - problem.matrix) / radius).tocsr()
    doubled = 2 * scaled

    def apply(x: FloatArray) -> FloatArray:
        before, now = x, scaled @ x
        for _ in range(DEGREE - 1):
            before, now = now, doubled @ now - before
        return np.asarray(now)

    return apply


def _closer(problem: _Sparse, operator: Apply, project: Apply, k: int) -> _Sparse:
    """The problem with a shift nearer to its eigenvalues, which lie too close together to be told apart from afar.

    Where none is known to be nearer, runs go on for as long as they take.
    """
    values = problem.shift + 1 / _roughly(operator, project, problem.matrix.shape[0], k)
    spread = max(values.max() - values.min(), TOLERANCE)
    num_zero = int(problem.component.max() + 1)
    while (shift := values.min() - spread) > problem.shift + spread:
        if _num_below(problem, shift) == num_zero:
            return problem._replace(shift=shift)
        spread *= 4
    return problem._replace(restarts=None)


def _roughly(operator: Apply, project: Apply, n: int, k: int) -> FloatArray:
    """The k largest eigenvalues of a symmetric operator within `ROUGH` of them, from below."""
    start = project(np.random.default_rng(n).standard_normal(n))
    return np.asarray(
        scipy.sparse.linalg.eigsh(
            _projected(operator, project, n), k, which="LA", v0=start, ncv=max(20, 3 * k), tol=ROUGH,
            return_eigenvectors=False,
        )
    )  # fmt: skip


def _projected(operator: Apply, project: Apply, n: int) -> scipy.sparse.linalg.LinearOperator:
    return scipy.sparse.linalg.LinearOperator(
        (n, n), dtype=np.float64, matvec=lambda x: project(operator(project(x.ravel())))
    )


def _factor(problem: _Sparse, shift: float) -> scipy.sparse.linalg.SuperLU:
    """Factors of the Laplacian plus `shift`, in the problem's order."""
    matrix = (problem.matrix + shift * scipy.sparse.eye_array(problem.matrix.shape[0])).tocsr()
    return _eliminate(matrix[problem.order][:, problem.order], "NATURAL")


def _inverse(problem: _Sparse) -> Apply:
    factor = _factor(problem, -problem.shift)

    def apply(x: FloatArray) -> FloatArray:
        result = np.empty_like(x)
        result[problem.order] = factor.solve(x[problem.order])
        return result

    return apply


def _num_below(problem: _Sparse, bound: float) -> int:
    """Number of eigenvalues below `bound`: negative pivots of the shifted matrix (Sylvester's law of inertia)."""
    factor = _factor(problem, -bound)
    if not np.array_equal(factor.perm_r, factor.perm_c):
        raise RuntimeError("rows were exchanged, so the pivots' signs say nothing")
    return int((factor.U.diagonal() < 0).sum())


def elimination_order(matrix: scipy.sparse.csr_array) -> IntArray | None:
    """An order in which a symmetric matrix is cheap to eliminate, or None.

    Nodes of least degree first, which takes chains, trees and hubs apart; what is left above `PEELED_DEGREE` in
    SuperLU's minimum degree order, if the envelope of its Cuthill-McKee order shows that it costs at most
    `FACTOR_EFFORT`. SuperLU's order of the whole, enough for a small graph, would take minutes where one node has
    100,000 neighbours.
    """
    if matrix.shape[0] <= SMALL:
        return _minimum_degree_order(matrix)
    peeled, neighbours = _peel(matrix)
    rest = np.flatnonzero([neighbour is not None for neighbour in neighbours])
    if not len(rest):
        return np.asarray(peeled)
    place = np.full(len(neighbours), -1)
    place[rest] = np.arange(len(rest))
    inside = [neighbours[node] or set() for node in rest.tolist()]
    rows = np.repeat(np.arange(len(rest)), list(map(len, inside)))
    columns = place[np.fromiter((node for members in inside for node in members), np.int64, len(rows))]
    size = len(rest)
    core = scipy.sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(size, size))
    position = np.empty(size, np.int64)
    position[scipy.sparse.csgraph.reverse_cuthill_mckee(core, symmetric_mode=True)] = np.arange(size)
    width = np.zeros(size)
    np.maximum.at(width, position[rows], position[rows] - position[columns])
    if (width**2).sum() > FACTOR_EFFORT:
        return None
    return np.concatenate([np.asarray(peeled, np.int64), rest[_minimum_degree_order(core)]])


def _minimum_degree_order(matrix: scipy.sparse.csr_array) -> IntArray:
    """SuperLU's order for a symmetric pattern, from the factors of a positive definite matrix that has it."""
    pattern = abs(matrix)
    dominant = scipy.sparse.diags_array(np.asarray(pattern.sum(axis=1)) + 1.0) - pattern
    return np.argsort(_eliminate(dominant, "MMD_AT_PLUS_A").perm_c)


def _eliminate(matrix: scipy.sparse.sparray, order: str) -> scipy.sparse.linalg.SuperLU:
    """Factors of a symmetric matrix, without row exchanges."""
    options = {"SymmetricMode": True}
    return scipy.sparse.linalg.splu(matrix.tocsc(), permc_spec=order, diag_pivot_thresh=0.0, options=options)


def _peel(matrix: scipy.sparse.csr_array) -> tuple[list[int], list[set[int] | None]]:
    """Nodes in the order of elimination, least degree first up to `PEELED_DEGREE`; and the neighbours of the others."""
    starts, columns = matrix.indptr.tolist(), matrix.indices.tolist()
    neighbours: list[set[int] | None] = [set(columns[a:b]) - {node} for node, (a, b) in enumerate(pairwise(starts))]
    by_degree: list[list[int]] = [[] for _ in range(PEELED_DEGREE + 1)]
    for node, around in enumerate(neighbours):
        if around is not None and len(around) <= PEELED_DEGREE:
            by_degree[len(around)].append(node)
    order, degree = [], 0
    while degree <= PEELED_DEGREE:
        if not by_degree[degree]:
            degree += 1
            continue
        node = by_degree[degree].pop()
        around = neighbours[node]
        if around is None or len(around) != degree:
            continue  # eliminated, or listed again under the degree it has by now
        order.append(node)
        neighbours[node] = None
        for other in around:
            there = neighbours[other]
            assert there is not None  # eliminated nodes have left all neighbourhoods
            there |= around
            there -= {node, other}
            if len(there) <= PEELED_DEGREE:
                by_degree[len(there)].append(other)
                degree = min(degree, len(there))
    return order, neighbours
