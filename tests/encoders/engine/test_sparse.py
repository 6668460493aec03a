"""Sparse products and their gradients against dense matrices."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_samples import DEVICES, random_segments, random_states

from encoders.engine.sparse import SparseMatrix


@pytest.mark.parametrize("device", DEVICES)
@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), height=st.integers(0, 9), width=st.integers(1, 9))
def test_a_sparse_product_is_the_dense_one_and_so_is_its_gradient(device, seed, height, width):
    rng = np.random.default_rng(seed)
    segments = random_segments(rng, height, width)
    weights = torch.from_numpy(rng.normal(size=len(segments.pattern.columns)))
    x, back = random_states(rng, width, 3), torch.from_numpy(rng.normal(size=(height, 3)))
    for matrix, values in (
        (SparseMatrix(segments.pattern.mapped(lambda t: t.to(device)), weights.to(device)), weights),
        (segments.mapped(lambda t: t.to(device)).sum, torch.ones_like(weights)),
    ):
        dense = torch.zeros(height, width, dtype=torch.float64)
        dense.index_put_((segments.pattern.rows.long(), segments.pattern.columns.long()), values, accumulate=True)
        out = matrix @ x.to(device)
        torch.testing.assert_close(out.cpu(), dense @ x)
        torch.testing.assert_close(torch.autograd.grad(out, x, back.to(device))[0], dense.T @ back)


def test_a_pattern_turned_twice_is_the_same_matrix():
    rng = np.random.default_rng(0)
    pattern = random_segments(rng, 7, 5).pattern
    weights = torch.from_numpy(rng.normal(size=len(pattern.columns)))
    other = pattern.transpose()
    there = weights.index_select(0, pattern.transpose_with_order[1])
    x = torch.eye(5, dtype=torch.float64)
    forward, backward = (
        SparseMatrix(pattern, weights) @ x,
        SparseMatrix(other, there) @ torch.eye(7, dtype=torch.float64),
    )
    torch.testing.assert_close(forward.T, backward)
    torch.testing.assert_close(SparseMatrix(other, there).transposed @ x, forward)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_products_keep_the_precision_of_the_states(dtype):
    segments = random_segments(np.random.default_rng(1), 20, 9)
    x = torch.randn(9, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    out = segments.mean @ x
    assert out.dtype == dtype
    torch.testing.assert_close(out.double(), segments.mean @ x.double(), rtol=2e-2, atol=2e-2)
