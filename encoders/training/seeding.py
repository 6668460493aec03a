"""Seeded sections that leave the caller's random state as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(*seed: int) -> Iterator[None]:
    """Torch's CPU generator, which layers initialise and drop out with, starts from `seed` inside and is restored
    after.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
        yield
