"""Pools whose rows stand for several nodes, against plain PyTorch on the rows repeated."""

import numpy as np
import pytest
import torch
from segment_samples import DEVICES, random_segments, random_states

from encoders.models.pooling import POOLS


def rows_of(segments):
    """The rows of each segment."""
    return segments.pattern.columns.long().split(segments.sizes.tolist())


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
    nodes, x = random_segments(rng, 12, 5, least=1, most=9), random_states(rng, 5, 4)
    pool = POOLS[name](4).double()
    wanted = [x, *pool.parameters()]
    expected = torch.stack([naive(name, pool, x[rows]) for rows in rows_of(nodes)])
    back = torch.from_numpy(rng.normal(size=expected.shape))
    slow = torch.autograd.grad(expected, wanted, back)
    found = pool.to(device)(x.to(device), nodes.mapped(lambda t: t.to(device)))
    torch.testing.assert_close(found.cpu(), expected)
    for a, b in zip(torch.autograd.grad(found, [x, *pool.parameters()], back.to(device)), slow, strict=True):
        torch.testing.assert_close(a.cpu(), b.cpu())
