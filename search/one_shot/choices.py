"""Choices of a supernet: which entries of the mixture each option of a specification stands for.

Notation, as in the rest of this room:
    logits      (A,)  architecture parameters before the softmax (DARTS: alpha; "Influential Magnitude": alpha bar)
    mixture     (A,)  weights of the operations after it; its entries are what selection rules score
    choice      one decision of a specification: the operation of an edge, the parents of a vertex
    option      what may be chosen; it stands for one or several entries of the mixture
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cgir.errors import CgirError
from cgir.typing import FloatArray

NONE = "none"
Picks = tuple[tuple[int, ...], ...]  # for each choice the indices of its chosen options


class Choice(NamedTuple):
    """One decision of a specification.

    Attributes:
        name: what is decided, for tables and drawings.
        options: their names.
        entries: of each option the entries of the mixture that vanish if it is not chosen.
        num_chosen: how many options are chosen.
        of_inputs: whether options are the inputs of a node, which rules that decide one choice after the other do last.
        never: names of options that are in the mixture but in no specification.
    """

    name: str
    options: tuple[str, ...]
    entries: tuple[tuple[int, ...], ...]
    num_chosen: int = 1
    of_inputs: bool = False
    never: tuple[str, ...] = ()

    def without(self, mixture: Tensor, option: int) -> Tensor:
        """The mixture (A,) without one option; the others keep their weights (DARTS-PT does not renormalise)."""
        return _zeroed(mixture, self.entries[option])

    def alone(self, mixture: Tensor, option: int) -> Tensor:
        """The mixture (A,) with one option only; it keeps its weight ("Causal Zero-Shot NAS", eq. 4)."""
        return _zeroed(mixture, [e for o, entries in enumerate(self.entries) if o != option for e in entries])

    def decided(self, mixture: Tensor, kept: Sequence[int]) -> Tensor:
        """The mixture (A,) after the choice: what is kept has weight 1, or its weights where it has several entries."""
        result = _zeroed(mixture, [e for o, entries in enumerate(self.entries) if o not in kept for e in entries])
        for option in kept:
            if len(self.entries[option]) == 1:
                result[self.entries[option][0]] = 1
        return result

    def allowed(self, exclude: Collection[str] = ()) -> list[int]:
        """The options that may be chosen; CgirError if without the excluded ones these are too few."""
        allowed = [o for o, name in enumerate(self.options) if name not in exclude and name not in self.never]
        if len(allowed) < self.num_chosen:
            raise CgirError(
                f"{self.name}: {self.num_chosen} of {', '.join(self.options)} must be chosen; "
                f"exclude={sorted(exclude)} leaves {len(allowed)}"
            )
        return allowed

    def best(self, scores: FloatArray, exclude: Collection[str] = ()) -> tuple[int, ...]:
        """The `num_chosen` options of the highest scores, the earlier of equal ones, in ascending order.

        Args:
            scores: (options,).
            exclude: names of options that are not chosen, besides `never`.

        Raises:
            CgirError: too few options are left, or a score is NaN.
        """
        allowed = self.allowed(exclude)
        undefined = [self.options[option] for option in allowed if np.isnan(scores[option])]
        if undefined:
            raise CgirError(f"{self.name}: the score of {undefined[0]} is not a number; select by another rule")
        return tuple(sorted(sorted(allowed, key=lambda option: -scores[option])[: self.num_chosen]))


def option_scores(choices: Sequence[Choice], scores: FloatArray) -> tuple[FloatArray, ...]:
    """Scores of options from those of the mixture's entries (A,): an option is as good as its best entry.

    An entry of an operation `none` does not count for the edge that it is on (DARTS, the authors' `genotype()`).
    """
    nones = {
        entry
        for choice in choices
        for name, entries in zip(choice.options, choice.entries, strict=True)
        for entry in entries
        if name == NONE
    }
    return tuple(
        np.array([max(scores[e] for e in entries if len(entries) == 1 or e not in nones) for entries in choice.entries])
        for choice in choices
    )


def _zeroed(mixture: Tensor, entries: Sequence[int]) -> Tensor:
    result = mixture.clone()
    result[torch.as_tensor(entries, dtype=torch.long, device=mixture.device)] = 0
    return result
