"""Random segments and states, on every device there is."""

import numpy as np
import pytest
import torch

from encoders.engine.segments import Segments
from encoders.engine.sparse import SparsityPattern

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")),
]


def random_segments(rng, count, num_rows, most=5, least=0):
    """`count` segments of `least` to `most` - 1 of the rows, some of them empty, some naming a row twice."""
    sizes = rng.integers(least, most, count)
    ptr = np.concatenate([[0], np.cumsum(sizes)])
    rows = torch.from_numpy(rng.integers(0, num_rows, ptr[-1]))
    return Segments(SparsityPattern(torch.from_numpy(ptr), rows, num_rows))


def random_states(rng, *shape):
    return torch.from_numpy(rng.normal(size=shape)).requires_grad_()
