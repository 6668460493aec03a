"""A search as a study of Optuna, for its dashboard and its plots: `pip install optuna`.

python examples/search_in_optuna.py [sqlite:///studies.db]
"""

from __future__ import annotations

import sys

import numpy as np
import optuna

import search
from frontends import tables


def to_optuna(history: search.History, storage: str | None = None, name: str = "cgir") -> optuna.Study:
    """The study with a trial for each network that was answered, in the order in which they were asked.

    Args:
        history: of any search; the network and its costs are user attributes of a trial, failed ones are FAIL.
        storage: as `optuna.create_study` takes it; None: in memory.
        name: of the study.
    """
    directions = ["maximize" if item.maximise else "minimize" for item in history.objectives]
    study = optuna.create_study(storage=storage, study_name=name, directions=directions)
    for text, row, values in zip(history.spec_strings, history.rows, history.objective_values, strict=True):
        if row.answer is None:
            continue  # asked, not answered yet
        failed = not np.isfinite(values).all()
        attributes = {"spec": text, "error": row.error, "seconds": row.seconds, **row.costs}
        state = optuna.trial.TrialState.FAIL if failed else optuna.trial.TrialState.COMPLETE
        trial = optuna.trial.create_trial(
            state=state, values=None if failed else values.tolist(), user_attrs=attributes
        )
        study.add_trial(trial)
    return study


def main(storage: str | None = None, queries: int = 30) -> optuna.Study:
    """Search among 250 trained networks for accuracy and few FLOPs, and print the best trade-offs as Optuna has them.

    Args:
        storage: of the study.
        queries: budget.
    """
    table = tables.load("digits").family("nasbench201")
    accuracy = dict(zip(table.specs, table["accuracy"], strict=True))
    assert table.space is not None
    history = search.local_search(
        table.space,
        accuracy.__getitem__,
        queries,
        objectives=["accuracy", "-flops"],
        limits=accuracy.__contains__,
        progress=False,
    )
    study = to_optuna(history, storage)
    print(f"{len(study.trials)} trials, {len(study.best_trials)} of them on the front")
    for trial in study.best_trials:
        print(f"{trial.values[0]:.3f}  {trial.values[1] / 1e6:6.2f} MFLOPs  {trial.user_attrs['spec']}")
    return study


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
