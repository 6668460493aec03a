"""Batch normalisation of rows that stand for several nodes, against PyTorch's of the nodes."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_samples import random_states
from torch import nn

from encoders.models.norms import BatchNorm


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(1, 9))
def test_batch_norm_of_classes_is_pytorchs_of_nodes(seed, classes):
    rng = np.random.default_rng(seed)
    count = torch.from_numpy(rng.integers(1, 5, classes))
    count[0] += 1  # at least two nodes
    ours, theirs, x = BatchNorm(3).double(), nn.BatchNorm1d(3).double(), random_states(rng, classes, 3)
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
