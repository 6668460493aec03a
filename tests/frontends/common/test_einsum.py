"""Einstein sums as products of two, against numpy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontends.common.einsum import TensorOps, einsum, emit_matmul, parse_equation, tape_ops
from frontends.common.tape import Tape

NUMPY = TensorOps(
    lambda x: x.shape,
    np.transpose,
    np.reshape,
    lambda x, axes: np.sum(x, axis=axes),
    np.matmul,
    np.multiply,
)
SIZES = dict(zip("abcde", (2, 3, 4, 5, 1), strict=True))


@st.composite
def equations(draw: st.DrawFn) -> str:
    """Equations of one to four operands without diagonals."""
    terms = draw(st.lists(st.lists(st.sampled_from("abcde"), max_size=4, unique=True), min_size=1, max_size=4))
    letters = sorted({letter for term in terms for letter in term})
    result = draw(st.lists(st.sampled_from(letters), unique=True)) if letters else []
    return ",".join("".join(term) for term in terms) + "->" + "".join(result)


@given(equations(), st.integers(0, 2**32 - 1))
def test_the_products_are_the_einsum(equation: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    terms = equation.partition("->")[0].split(",")
    tensors = [random.standard_normal([SIZES[letter] for letter in term]) for term in terms]
    found = einsum(NUMPY, equation, *tensors)
    np.testing.assert_allclose(found, np.einsum(equation, *tensors), atol=1e-12)


@given(equations())
def test_nodes_on_a_tape_have_its_size(equation: str) -> None:
    terms, _, result = equation.partition("->")
    tape = Tape()
    inputs = [
        tape.input(f"x{index}", tuple(SIZES[letter] for letter in term), None)
        for index, term in enumerate(terms.split(","))
    ]
    value = einsum(tape_ops(tape), equation, *inputs)
    assert value.size == tuple(SIZES[letter] for letter in result)


def test_ellipses_and_implicit_results_are_spelled_out() -> None:
    terms, result = parse_equation("...ij, jk", (4, 2))
    assert [term[-2:] for term in terms] == ["ij", "jk"]
    assert result == terms[0][:2] + "ik"


@pytest.mark.parametrize(
    ("equation", "ranks"), [("ii->i", (2,)), ("ij,jk->ik", (2,)), ("ij->ji", (3,))], ids=["diagonal", "number", "rank"]
)
def test_equations_that_do_not_fit_are_refused(equation: str, ranks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="einsum"):
        parse_equation(equation, ranks)


def test_a_static_matrix_on_the_right_is_a_weight() -> None:
    tape = Tape(batch=2)
    x = tape.input("x", (2, 5, 3), 0)
    value = emit_matmul(tape, "product", x, tape.param("w", (3, 4)), (2, 5, 4))
    assert tape.nodes[value.node].in_shapes == ((3, 5), (3, 4))
    assert tape.nodes[value.node].shape == (4, 5)
