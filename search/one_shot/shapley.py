"""Shapley values of a game (Shapley 1953)."""

from __future__ import annotations

from math import factorial

import numpy as np

from cgir.errors import CgirError
from cgir.typing import FloatArray


def shapley_values(values: FloatArray) -> FloatArray:
    """Exact Shapley values (M,) from the values (2^M,) of all coalitions; bit i of an index is whether player i is in.

    phi_i = sum over S without i of |S|! (M - |S| - 1)! / M! (v(S and i) - v(S)); they add up to v(all) - v(none).

    Raises:
        CgirError: the number of values is no power of two.
    """
    players = len(values).bit_length() - 1
    if len(values) != 1 << max(players, 0):
        raise CgirError(f"shapley_values: {len(values)} values; expected one for each of the 2^M coalitions")
    coalitions = np.arange(len(values))
    sizes = sum(((coalitions >> player) & 1 for player in range(players)), np.zeros_like(coalitions))
    weights = np.array([factorial(s) * factorial(players - s - 1) / factorial(players) for s in range(players)])
    result = np.empty(players)
    for player in range(players):
        without = coalitions[(coalitions >> player) & 1 == 0]
        result[player] = weights[sizes[without]] @ (values[without | 1 << player] - values[without])
    return result
