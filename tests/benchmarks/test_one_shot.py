"""The benchmark of supernets on a small case."""

import pytest

from benchmarks import one_shot


@pytest.mark.parametrize("space", one_shot.PER_EDGE)
def test_both_ways_run(space: str) -> None:
    skeleton = {"channels": 2, "layers" if space == "darts" else "cells": 1}
    for by_node in (True, False):
        one_shot.passes(space, skeleton, 8, by_node)()
