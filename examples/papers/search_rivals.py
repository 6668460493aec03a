"""Searches of other libraries for `examples.papers.search`: Optuna's TPE and pymoo's NSGA-II, on choices as numbers.

Both may propose a network again, or one isomorphic to it: it is answered from memory and is no query. A proposal that
is no network of the space (the macro space of TransNAS-Bench-101 has rules) fails at no cost; where only some networks
are listed, the listed one with the most choices in common answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem as PymooProblem
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.mutation.pm import PM
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.operators.sampling.rnd import IntegerRandomSampling

from cgir.typing import AnyArray, FloatArray, IntArray
from examples.papers.search_problems import Problem

MOST_PROPOSALS = 20  # times the budget: where a search repeats itself it ends
POPULATION = 20  # of NSGA-II: several generations fit into the budgets
TUPLES = ("nasbench201", "nasbench_macro", "transnas_micro", "transnas_macro", "ofa_mbv3")
INVALID = 1e9  # objective of what is no network


class Choices:
    """The networks of a problem as rows of whole numbers, one a choice; -1 where a shorter network has none.

    Attributes:
        options: for each choice its values.
        codes: (G, C) of the problem's networks.
    """

    def __init__(self, found: Problem) -> None:
        if found.family not in TUPLES:
            raise ValueError(f"{found.title}: its networks are graphs, not tuples of choices")
        self.found = found
        flat = [_flat(found.family, spec) for spec in found.all_specs]
        width = max(map(len, flat))
        padded = [[*values, *[None] * (width - len(values))] for values in flat]
        self.options = [list(dict.fromkeys(sorted(column, key=_order))) for column in zip(*padded, strict=True)]
        rows = [
            [options.index(value) for options, value in zip(self.options, values, strict=True)] for values in padded
        ]
        self.codes: IntArray = np.asarray(rows, np.int64)

    @cached_property
    def exact(self) -> dict[tuple[int, ...], int]:
        """Row of numbers -> network."""
        return dict(zip(map(tuple, self.codes.tolist()), self.found.row_graphs.tolist(), strict=True))

    def row(self, codes: AnyArray) -> int | None:
        """The network with these choices; where only some are listed the nearest; None: there is none."""
        if not self.found.listed:
            return self.exact.get(tuple(int(code) for code in codes))
        return int(self.found.row_graphs[int((self.codes != np.asarray(codes)).sum(axis=1).argmin())])


class Memory:
    """Answers proposals and notes which networks were asked, each once, up to the budget."""

    def __init__(self, queries: int) -> None:
        self.queries, self.rows, self.proposals = queries, list[int](), 0

    @property
    def full(self) -> bool:
        """Whether the budget of queries or of proposals is spent."""
        return len(self.rows) >= self.queries or self.proposals >= MOST_PROPOSALS * self.queries

    def note(self, row: int | None) -> None:
        """One proposal."""
        self.proposals += 1
        if row is not None and row not in self.rows and len(self.rows) < self.queries:
            self.rows.append(row)


def tpe(found: Problem, queries: int, seed: int) -> list[int]:
    """Tree-structured Parzen estimator of Optuna, its defaults: the networks asked, in order.

    Args:
        found: the problem; its specs must be tuples of choices.
        queries: budget, of distinct networks.
        seed: of the sampler.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    choices, memory = Choices(found), Memory(queries)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    while not memory.full:
        trial = study.ask()
        codes = [
            trial.suggest_categorical(f"choice {index}", range(len(options)))
            for index, options in enumerate(choices.options)
        ]
        row = choices.row(np.asarray(codes))
        memory.note(row)
        if row is None:
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, float(found.values[row]))
    return memory.rows


def nsga2(found: Problem, queries: int, seed: int, costs: FloatArray | None = None) -> list[int]:
    """NSGA-II of pymoo, integer operators of its documentation: the networks asked, in order.

    Args:
        found: the problem; its specs must be tuples of choices.
        queries: budget, of distinct networks.
        seed: of all random choices.
        costs: (G,) a second objective, lower is better; None: the label alone, so that it is a genetic algorithm.
    """
    choices, memory = Choices(found), Memory(queries)
    for row, tell in _proposals(choices, seed, 1 if costs is None else 2):
        memory.note(row)
        tell(
            [INVALID] if row is None else [-float(found.values[row])],
            None if costs is None or row is None else costs[row],
        )
        if memory.full:
            break
    return memory.rows


def _proposals(choices: Choices, seed: int, objectives: int) -> Iterator[tuple[int | None, Callable[..., None]]]:
    """Yield networks and what takes their answers; a generation is told when all of it is answered."""
    upper = np.asarray([len(options) - 1 for options in choices.options])
    problem = PymooProblem(n_var=len(upper), n_obj=objectives, xl=np.zeros(len(upper), int), xu=upper, vtype=int)
    algorithm = NSGA2(
        pop_size=POPULATION,
        sampling=IntegerRandomSampling(),
        crossover=SBX(prob=0.9, eta=15, vtype=float, repair=RoundingRepair()),
        mutation=PM(eta=20, vtype=float, repair=RoundingRepair()),
    )
    algorithm.setup(problem, termination=("n_gen", 10**6), seed=seed, verbose=False)
    while True:
        generation = algorithm.ask()
        answers: list[list[float]] = []

        def tell(values: list[float], cost: float | None, answers: list[list[float]] = answers) -> None:
            answers.append([*values, *([INVALID if cost is None else float(cost)] if objectives > 1 else [])])

        for codes in generation.get("X"):
            yield choices.row(codes), tell
        generation.set("F", np.asarray(answers))
        algorithm.tell(infills=generation)


def _flat(family: str, spec: Any) -> list[Any]:
    return [*spec.ks, *spec.e, *spec.d] if family == "ofa_mbv3" else list(spec)


def _order(value: Any) -> tuple[bool, Any]:
    return value is None, "" if value is None else value
