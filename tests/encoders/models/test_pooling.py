"""Sums, maxima and softmaxes over segments, and pools whose rows stand for several nodes, against plain PyTorch on the
rows repeated.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from encoders.engine.segments import Segments
from encoders.engine.sparse import SparseMatrix, SparsityPattern
from encoders.models.norms import BatchNorm
from encoders.models.pooling import POOLS

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")),
]


def drawn(rng, height, width, most=5, least=0):
    """Random segments, some of them empty, some naming a row twice."""
    sizes = rng.integers(least, most, height)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return Segments(
        SparsityPattern(torch.from_numpy(starts), torch.from_numpy(rng.integers(0, width, starts[-1])), width)
    )


def parts(segments):
    """The columns of each segment."""
    return segments.pattern.columns.long().split(segments.sizes.tolist())


def states(rng, *shape):
    return torch.from_numpy(rng.normal(size=shape)).requires_grad_()


@pytest.mark.parametrize("device", DEVICES)
@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), height=st.integers(0, 9), width=st.integers(1, 9))
def test_a_sparse_product_is_the_dense_one_and_so_is_its_gradient(device, seed, height, width):
    rng = np.random.default_rng(seed)
    segments = drawn(rng, height, width)
    weights = torch.from_numpy(rng.normal(size=len(segments.pattern.columns)))
    x, back = states(rng, width, 3), torch.from_numpy(rng.normal(size=(height, 3)))
    for matrix, values in (
        (SparseMatrix(segments.pattern.to(device), weights.to(device)), weights),
        (segments.to(device).sum, torch.ones_like(weights)),
    ):
        dense = torch.zeros(height, width, dtype=torch.float64)
        dense.index_put_((segments.pattern.rows.long(), segments.pattern.columns.long()), values, accumulate=True)
        out = matrix @ x.to(device)
        torch.testing.assert_close(out.cpu(), dense @ x)
        torch.testing.assert_close(torch.autograd.grad(out, x, back.to(device))[0], dense.T @ back)


def test_a_pattern_turned_twice_is_the_same_matrix():
    rng = np.random.default_rng(0)
    pattern = drawn(rng, 7, 5).pattern
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
    segments = drawn(np.random.default_rng(1), 20, 9)
    x = torch.randn(9, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    out = segments.mean @ x
    assert out.dtype == dtype
    torch.testing.assert_close(out.double(), segments.mean @ x.double(), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("device", DEVICES)
def test_maximum_and_softmax_of_each_segment(device):
    rng = np.random.default_rng(2)
    segments = drawn(rng, 30, 9)
    values = states(rng, len(segments.pattern.columns), 3)
    split = values.split(segments.sizes.tolist())
    highest, soft = (
        segments.to(device).max(values.to(device)).cpu(),
        segments.to(device).softmax(50 * values.to(device)).cpu(),
    )
    torch.testing.assert_close(highest, torch.stack([v.amax(0) if len(v) else v.new_zeros(3) for v in split]))
    expected = torch.cat([(50 * v).softmax(0) for v in split])
    torch.testing.assert_close(soft, expected)
    back = torch.from_numpy(rng.normal(size=values.shape))
    torch.testing.assert_close(
        *(torch.autograd.grad(out, values, back, retain_graph=True)[0] for out in (soft, expected))
    )
    assert segments.softmax(values + 1e4).isfinite().all()


def naive(name, pool, rows):
    if name == "attention":
        return (pool.gate(rows).softmax(0) * pool.value(rows).tanh()).sum(0)
    if name == "mixed":
        half = rows.shape[1] // 2
        return torch.cat([rows[:, :half].mean(0), rows[:, half:].sum(0)])
    return {"mean": rows.mean, "sum": rows.sum, "max": rows.amax}[name](0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", POOLS)
def test_pools_count_a_row_as_often_as_it_occurs(device, name):
    rng = np.random.default_rng(3)
    nodes, x = drawn(rng, 12, 5, least=1, most=9), states(rng, 5, 4)
    pool = POOLS[name](4).double()
    wanted = [x, *pool.parameters()]
    expected = torch.stack([naive(name, pool, x[rows]) for rows in parts(nodes)])
    back = torch.from_numpy(rng.normal(size=expected.shape))
    slow = torch.autograd.grad(expected, wanted, back)
    found = pool.to(device)(x.to(device), nodes.to(device))
    torch.testing.assert_close(found.cpu(), expected)
    for a, b in zip(torch.autograd.grad(found, [x, *pool.parameters()], back.to(device)), slow, strict=True):
        torch.testing.assert_close(a.cpu(), b.cpu())


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(1, 9))
def test_batch_norm_of_classes_is_pytorchs_of_nodes(seed, classes):
    rng = np.random.default_rng(seed)
    count = torch.from_numpy(rng.integers(1, 5, classes))
    count[0] += 1  # at least two nodes
    ours, theirs, x = BatchNorm(3).double(), nn.BatchNorm1d(3).double(), states(rng, classes, 3)
    back = torch.from_numpy(rng.normal(size=(classes, 3)))
    for _ in range(2):
        found, expected = ours(x, count), theirs(x.repeat_interleave(count, 0))
        torch.testing.assert_close(found.repeat_interleave(count, 0), expected, rtol=1e-9, atol=1e-9)
        wide = (back / count.unsqueeze(1)).repeat_interleave(count, 0)
        for a, b in zip(
            torch.autograd.grad(found, [x, *ours.parameters()], back),
            torch.autograd.grad(expected, [x, *theirs.parameters()], wide),
            strict=True,
        ):
            torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-7)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)
    torch.testing.assert_close(ours.eval()(x, count), theirs.eval()(x))
