"""Choices decided one after the other, in the supernet that earlier decisions left (DARTS-PT, Wang et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
from torch import Tensor
from tqdm import tqdm

from cgir.typing import FloatArray

from .choices import Choice
from .ranking import Ranking

Quality = Callable[[Tensor], float]  # of a supernet at a mixture (A,); higher is better


def decision_order(choices: Sequence[Choice], seed: int) -> list[int]:
    """Operations in random order, then inputs of nodes in random order, as indices of `choices`."""
    rng = np.random.default_rng(seed)
    inputs = [number for number, choice in enumerate(choices) if choice.of_inputs]
    operations = [number for number, choice in enumerate(choices) if not choice.of_inputs]
    return [*rng.permutation(operations).astype(int).tolist(), *rng.permutation(inputs).astype(int).tolist()]


def drops(choice: Choice, mixture: Tensor, quality: Quality) -> FloatArray:
    """How much the quality drops without each option: (options,).

    Args:
        choice: whose options are taken away, one at a time.
        mixture: (A,).
        quality: of the supernet at a mixture.
    """
    whole = quality(mixture)
    return np.array([whole - quality(choice.without(mixture, option)) for option in range(len(choice.options))])


def decide_in_turn(
    choices: Sequence[Choice],
    mixture: Tensor,
    quality: Quality,
    *,
    seed: int,
    exclude: Collection[str],
    progress: bool,
    after: Callable[[Tensor], None] = lambda mixture: None,
) -> Ranking:
    """Decide every choice for the options without which the quality drops most (algorithm 1 there).

    Args:
        choices: of a supernet.
        mixture: (A,) before the first decision.
        quality: of the supernet at a mixture; called once for every option, and once for every choice.
        seed: of the order.
        exclude: names of options that are not chosen.
        progress: show a progress bar.
        after: called with the mixture after every decision.

    Returns:
        As scores the drops, each in the supernet at the time of its decision; as picks the decisions.
    """
    scores: dict[int, FloatArray] = {}
    picks: dict[int, tuple[int, ...]] = {}
    order = tqdm(decision_order(choices, seed), desc="decisions", unit="choice", disable=not progress)
    for number in order:
        scores[number] = drops(choices[number], mixture, quality)
        picks[number] = choices[number].best(scores[number], exclude)
        mixture = choices[number].decided(mixture, picks[number])
        after(mixture)
    numbers = range(len(choices))
    return Ranking(tuple(scores[number] for number in numbers), tuple(picks[number] for number in numbers))
