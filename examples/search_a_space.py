"""Predictor-guided evolution against random search and aging evolution, with 40 queries of 250 trained networks.

    python examples/search_a_space.py

An oracle of your own trains `space.module(spec)` and returns its accuracy; with `path=` the search goes on where it was
interrupted.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean

import search
from encoders import Predictor
from frontends import tables


def main(folder: str | Path, queries: int = 40, seeds: int = 5) -> None:
    """Search with each method and print how many of the 250 networks are better than what it found.

    Args:
        folder: where the history is written.
        queries: budget of each search.
        seeds: number of repetitions.
    """
    table = tables.load("digits").family("nasbench201")
    space, accuracy = table.space, dict(zip(table.specs, table["accuracy"], strict=True))
    assert space is not None

    def rank(history: search.History) -> int:
        return 1 + sum(bool(value > history.best_value) for value in accuracy.values())

    print(f"{queries} queries of {len(accuracy)} networks, {seeds} seeds: mean rank of the best one found")
    methods: dict[str, Callable[..., search.History]] = {
        "random": search.random_search,
        "aging": partial(search.aging_evolution, population=10, tournament=5),
        "guided": search.evolve,
    }
    for name, method in methods.items():
        ranks = []
        for seed in range(seeds):
            # the table is the oracle, so only its networks are allowed
            history = method(
                space,
                Predictor(head="gp"),
                accuracy.__getitem__,
                queries,
                seed,
                limits=accuracy.__contains__,
                progress=False,
            )
            ranks.append(rank(history))
        print(f"{name}  {mean(ranks):5.1f}  {ranks}")

    file = Path(folder) / "history.jsonl"
    search.evolve(
        space, Predictor(), accuracy.__getitem__, queries // 2, limits=accuracy.__contains__, path=file, progress=False
    )
    # asks for the rest
    history = search.evolve(space, Predictor(), accuracy.__getitem__, queries, limits=accuracy.__contains__, path=file)
    print(
        f"best: {space.format(history.best)} with {history.best_value:.3f}, rank {rank(history)}, query "
        f"{history.top(1)[0] + 1} of {len(history)}"
    )

    answers = history.table()  # a history is a label table: for the next predictor, or for yourself
    print(f"{file.name}: {len(answers)} rows of spec, {', '.join(answers.metrics)}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(sys.argv[1] if len(sys.argv) > 1 else temporary)
