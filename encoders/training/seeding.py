"""Seeded sections that draw from a generator of their own, so that no other code's random numbers change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from frontends.torch.private_draws import DrawingMode


@contextmanager
def seeded(*seed: int) -> Iterator[None]:
    """What PyTorch draws inside on the CPU, initial weights and dropout, depends on the seed alone.

    The numbers are those of its global generator after that seed, which is neither read nor changed: other threads may
    draw from it meanwhile.
    """
    with DrawingMode(torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))):
        yield
