"""What `cgir predict` does, as text for the command line to print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cgir.errors import CgirError
from cgir.graph_batch import GraphBatch
from cgir.typing import FloatArray
from encoders.predictors.predictor import Predictor

from . import score_table as score_table

PRETRAINED = "universal"


def tasks() -> str:
    """What can be predicted without a label, and the rank correlations with families that were left out of training."""
    lines = ["Scores that need no label of yours: cgir predict NETWORK... --task NAME", ""]
    for name, task in _tasks().items():
        lines += [f"{name} ({task['unit']}): {task['about']}", f"  learned from {', '.join(task['families'])}"]
        worth = ", ".join(f"{family} {value:.2f}" for family, value in task["worth"].items())
        lines += [f"  rank correlation (Spearman) on a family that was left out: {worth}", ""]
    return "\n".join(lines).rstrip()


def check_task(task: str | None) -> str:
    """The task that was asked for, or the only one. CgirError if there is no such task, or several to choose from."""
    names = list(_tasks())
    if task is None and len(names) == 1:
        return names[0]
    if task is None:
        raise CgirError(
            f"what shall be predicted? Say --predictor FOLDER, or --task with one of {', '.join(names)} (`cgir predict` alone describes them)"
        )
    if task not in names:
        raise CgirError(
            f"no task {task!r}; there are {', '.join(names)} (`cgir predict` alone describes them); others need labels: `cgir finetune`"
        )
    return task


def scores(predictor: Predictor, graphs: GraphBatch) -> tuple[FloatArray, FloatArray | None]:
    """(G,) scores and their deviations, which a single network has not."""
    return predictor.predict(graphs, return_std=True) if predictor.has_spread else (predictor.predict(graphs), None)


def predicted(how: Predictor | str, names: Sequence[str], graphs: GraphBatch, top: int, output: Path | None) -> str:
    """A ranking; where it was guessed for a task, also in which unit and what it is worth.

    Args:
        how: a fitted predictor; or the name of a task, for the weights that come with the package.
        names: of the G networks.
        graphs: theirs.
        top: lines of the ranking.
        output: write all scores to this CSV file, if any.
    """
    if isinstance(how, Predictor):
        return _ranking(names, *scores(how, graphs), top, output)
    from encoders.predictors.zero_shot import zero_shot

    found = zero_shot(graphs, how)
    return f"{how} in {found.unit}, without a label\n{_ranking(names, found.scores, found.deviations, top, output)}\n\n{found.worth}"


def _ranking(names: Sequence[str], found: FloatArray, spread: FloatArray | None, top: int, output: Path | None) -> str:
    text = score_table.table(names, found, spread, top)
    if output:
        score_table.write(output, names, found, spread)
        text += f"\n\nwrote {output}"
    return text


def _tasks() -> Mapping[str, Any]:
    from encoders.predictors.pretrained import card

    found: Mapping[str, Any] = card(PRETRAINED)["tasks"]
    return found
