"""One thread: the networks of the tests are tiny, and threads that wait for each other cost minutes.

Each test begins with seeded generators, so that networks without a seed do not depend on the tests before.
"""

import random

import numpy as np
import pytest
import torch

torch.set_num_threads(1)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Seed what tests draw from; a hook, as Hypothesis wants no fixture of a single example."""
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
