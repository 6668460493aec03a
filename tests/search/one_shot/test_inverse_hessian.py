"""Products with inverse matrices are those of a dense solve, and of the recursions as published."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from one_shot_derivative_samples import lemma_2, relative_error
from torch import Tensor
from torch.func import jacrev
from torch.nn.functional import cross_entropy

from cgir.errors import CgirError
from search.one_shot import inverse_hessian
from search.one_shot.derivatives import Loss, Point, loss_and_gradient
from search.one_shot.inverse_hessian import (
    METHODS,
    conjugate_gradients,
    inverse_hessian_product,
    largest_eigenvalue,
    neumann,
    sherman_morrison,
)

ETA = 0.1


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def logistic_losses(count: int) -> tuple[list[Loss], Point]:
    """Softmax regression with 4 features and 3 classes, of which every batch has other examples."""

    def make(seed: int) -> Loss:
        features, labels = random(10, 4, seed=seed), torch.arange(10) % 3

        def loss(theta: Tensor, mixture: Tensor) -> Tensor:
            return cross_entropy((features * mixture) @ theta.view(4, 3), labels)

        return loss

    return [make(seed) for seed in range(count)], Point(random(12, seed=99), random(4, seed=98).softmax(0))


def dense_hessians(losses: Sequence[Loss], point: Point) -> list[Tensor]:
    return [jacrev(jacrev(loss))(*point) for loss in losses]


@pytest.mark.parametrize("count", [1, 5, 30])
def test_sherman_morrison(count: int) -> None:
    gradients, vector = random(count, 20), random(20, seed=1)
    found = sherman_morrison(vector, gradients, ETA)
    dense = ETA * torch.eye(20, dtype=torch.float64) + gradients.T @ gradients / count
    assert relative_error(found, torch.linalg.solve(dense, vector)) < 1e-10
    assert relative_error(found, lemma_2(vector, gradients, ETA)) < 1e-10


def test_sherman_morrison_in_pieces_and_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    gradients, vector = random(20, 1000), random(1000, seed=1)
    whole = sherman_morrison(vector, gradients, ETA)
    monkeypatch.setattr(inverse_hessian, "COLUMNS", 7)
    assert relative_error(sherman_morrison(vector, gradients, ETA), whole) < 1e-12
    single = sherman_morrison(vector.float(), gradients.float(), ETA)
    assert single.dtype == torch.float32
    assert relative_error(single.double(), whole) < 1e-6


def test_sherman_morrison_of_batches() -> None:
    losses, point = logistic_losses(5)
    gradients = torch.stack([loss_and_gradient(loss, point)[1] for loss in losses])
    vector = random(12)
    expected = lemma_2(vector, gradients, ETA)
    found = inverse_hessian_product(vector, "sherman_morrison", losses, point, eta=ETA)
    known = inverse_hessian_product(vector, "sherman_morrison", losses, point, eta=ETA, gradients=gradients)
    assert relative_error(found, expected) < 1e-10
    assert torch.equal(found, known)


def test_the_last_term_of_influence_is_bounded() -> None:
    """With g the mean of the gradients, g^T F^-1 g is below 1, whatever eta is."""
    gradients = 100 * random(5, 20)
    mean = gradients.mean(0)
    assert 0.99 < float(mean @ sherman_morrison(mean, gradients, 1e-3)) < 1


def test_neumann_series_of_lemma_1() -> None:
    """gamma times the sum of powers of I - gamma H, which tends to the solution."""
    root = random(6, 6)
    matrix = root @ root.T + torch.eye(6, dtype=torch.float64)
    gamma = 1 / float(torch.linalg.eigvalsh(matrix)[-1])
    vector, factor = random(6, seed=1), torch.eye(6, dtype=torch.float64) - gamma * matrix
    powers = sum(gamma * torch.linalg.matrix_power(factor, k) @ vector for k in range(8))
    assert isinstance(powers, Tensor)
    assert relative_error(neumann(vector, lambda v: matrix @ v, 7, gamma), powers) < 1e-12
    found = neumann(vector, lambda v: matrix @ v, 2000, gamma)
    assert relative_error(found, torch.linalg.solve(matrix, vector)) < 1e-10


def test_neumann_of_batches_takes_them_in_turn() -> None:
    losses, point = logistic_losses(3)
    eye, vector = torch.eye(12, dtype=torch.float64), random(12)
    matrices = [matrix + ETA * eye for matrix in dense_hessians(losses, point)]
    norms, probe = [], random(12, seed=5)
    probe = probe / probe.norm()
    for k in range(10):
        image = matrices[k % 3] @ probe
        norms.append(float(image.norm()))
        probe = image / norms[-1]
    gamma = 1 / max(norms)
    term = total = gamma * vector
    for k in (1, 2, 0):  # ten products before
        term = term - gamma * matrices[k] @ term
        total = total + term
    found = inverse_hessian_product(vector, "neumann", losses, point, eta=ETA, seed=5)
    assert relative_error(found, total) < 1e-10


def test_neumann_of_one_batch_many_times_is_the_solution() -> None:
    losses, point = logistic_losses(1)
    vector = random(12)
    dense = dense_hessians(losses, point)[0] + ETA * torch.eye(12, dtype=torch.float64)
    found = inverse_hessian_product(vector, "neumann", losses * 400, point, eta=ETA)
    assert relative_error(found, torch.linalg.solve(dense, vector)) < 1e-8


@pytest.mark.parametrize("published", [False, True])
def test_conjugate_gradients_of_batches(published: bool) -> None:
    losses, point = logistic_losses(3)
    vector = random(12)
    dense = sum(dense_hessians(losses, point)) / 3 + ETA * torch.eye(12, dtype=torch.float64)
    found = inverse_hessian_product(
        vector, "conjugate_gradients", losses, point, eta=ETA, iterations=40, published=published
    )
    assert relative_error(found, torch.linalg.solve(dense, vector)) < (1e-4 if published else 1e-5)


def test_conjugate_gradients_end_after_as_many_iterations_as_dimensions() -> None:
    root = random(6, 6)
    matrix, vector = root @ root.T + torch.eye(6, dtype=torch.float64), random(6, seed=1)
    seen: list[Tensor] = []

    def product(v: Tensor) -> Tensor:
        seen.append(v)
        return matrix @ v

    found = conjugate_gradients(vector, product, 100, tolerance=1e-10)
    assert len(seen) <= 7
    assert relative_error(found, torch.linalg.solve(matrix, vector)) < 1e-10


def test_conjugate_gradients_of_nothing() -> None:
    assert torch.equal(conjugate_gradients(torch.zeros(3), lambda v: v, 5), torch.zeros(3))


def test_conjugate_gradients_refuse_negative_curvature() -> None:
    matrix = torch.diag(torch.tensor([3.0, -2.0]))
    with pytest.raises(CgirError, match=r"positive definite Hessian; its curvature is -?\d.*raise eta=0.1"):
        conjugate_gradients(torch.tensor([1.0, 2.0]), lambda v: matrix @ v, 5, remedy="raise eta=0.1")


@pytest.mark.parametrize("sign", [1, -1])
def test_largest_eigenvalue(sign: int) -> None:
    root = random(6, 6)
    matrix = sign * (root @ root.T)
    expected = float(torch.linalg.eigvalsh(matrix).abs().max())
    assert largest_eigenvalue(lambda v: matrix @ v, root[0], 200, seed=0) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("factor", [0.0, float("nan"), float("inf")])
def test_no_eigenvalue_of_nothing(factor: float) -> None:
    with pytest.raises(CgirError, match="no eigenvalue is known"):
        largest_eigenvalue(lambda v: factor * v, torch.ones(3), 3, seed=0)


def test_identity() -> None:
    losses, point = logistic_losses(1)
    vector = random(12)
    found = inverse_hessian_product(vector, "identity", losses, point)
    assert torch.equal(found, vector)
    assert found is not vector


@pytest.mark.parametrize("eta", [0.0, -1.0, float("nan"), float("inf")])
def test_eta_must_be_positive(eta: float) -> None:
    losses, point = logistic_losses(1)
    with pytest.raises(CgirError, match=r"eta=.*; expected a positive number"):
        inverse_hessian_product(random(12), "sherman_morrison", losses, point, eta=eta)


def test_unknown_method_names_the_known() -> None:
    losses, point = logistic_losses(1)
    with pytest.raises(CgirError, match=f"'newton'; there are {', '.join(METHODS)}"):
        inverse_hessian_product(random(12), "newton", losses, point)


def test_what_is_not_finite_is_no_result() -> None:
    losses, point = logistic_losses(2)
    with pytest.raises(CgirError, match="sherman_morrison is not finite"):
        inverse_hessian_product(torch.full_like(point.theta, torch.inf), "sherman_morrison", losses, point)
