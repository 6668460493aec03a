"""Importer of TransNAS-Bench-101: the official `transnas-bench_v10141024.pth`, both of its spaces.

The authors' api/api.py: `data`: space ("micro", "macro") -> architecture -> task -> {`metrics`: name -> value after
each epoch, `model_info`: name -> value, `total_epochs`}.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from cgir.errors import FileFormatError
from cgir.limits import DEFAULT, Limits
from frontends import spaces
from frontends.tables.safe_load.torch_reader import read_torch
from frontends.tables.table import Table

from .record_columns import MOST_COLUMNS, preview, record_errors, to_columns, to_float, to_floats, to_text

# The metric that papers compare on each task, as NASLib reads it: higher is better everywhere
VALIDATION_METRICS = {
    "class_scene": "valid_top1", "class_object": "valid_top1", "jigsaw": "valid_top1", "room_layout": "valid_neg_loss",
    "segmentsemantic": "valid_acc", "normal": "valid_ssim", "autoencoder": "valid_ssim",
}  # fmt: skip


class CurveEnd(NamedTuple):
    """Of the values after each epoch: the last, and the highest."""

    last: float
    best: float


def read_transnas(kind: str, path: Path, limits: Limits = DEFAULT) -> Table:
    """A row for each architecture of one space, in the file's order.

    `{task}_{metric}` after the last epoch and `{task}_{metric}_best`, the highest of all epochs, for every metric of
    the file but those of the training images, which have the last alone; `{task}_{info}` for the model's parameters,
    FLOPs and times as the authors counted them; and `{task}_val_metric`, which repeats the validation metric that the
    published table has.

    Args:
        kind: "micro" or "macro".
        path: the official file.
        limits: of what it may take beyond its size.

    Raises:
        FileFormatError: damaged or foreign; the message names the architecture and the task.
    """
    value = read_torch(path, limits)
    data = value.get("data") if isinstance(value, dict) else None
    if not isinstance(data, dict) or not isinstance(data.get(kind), dict):
        content = preview(value if data is None else data)
        raise FileFormatError(f"{path}: no architectures of the {kind} space under the key 'data'; found {content}")
    space, rows = spaces.get(f"transnas_{kind}"), []
    ends: dict[int, CurveEnd] = {}  # by the list's id: one list of the file may stand for many
    for text, tasks in tqdm(data[kind].items(), desc=path.name, unit="network", delay=1):
        with record_errors(f"{path}: {preview(text)}", "results of TransNAS-Bench-101"):
            to_text(text)
            rows.append(_row(tasks, ends))
    return Table(f"transnas_{kind}", tuple(data[kind]), to_columns(rows), space)


def _row(tasks: Mapping[str, Any], ends: dict[int, CurveEnd]) -> dict[str, float]:
    row: dict[str, float] = {}
    for task, result in tasks.items():
        for name, value in _task(to_text(task), result, ends):
            row[name] = value
            if len(row) > MOST_COLUMNS:
                raise ValueError(f"more than {MOST_COLUMNS:,} metrics of one network")
    return row


def _task(task: str, result: Mapping[str, Any], ends: dict[int, CurveEnd]) -> Iterator[tuple[str, float]]:
    if len(result["metrics"]) + len(result.get("model_info", {})) > MOST_COLUMNS:
        raise ValueError(f"more than {MOST_COLUMNS:,} metrics of one task")
    metrics = result["metrics"]
    for metric, values in metrics.items():
        if id(values) not in ends:
            curve = to_floats(values)
            ends[id(values)] = CurveEnd(float(curve[-1]), float(curve.max()))
        yield f"{task}_{to_text(metric)}", ends[id(values)].last
        if not metric.startswith("train"):
            yield f"{task}_{metric}_best", ends[id(values)].best
    if task in VALIDATION_METRICS:
        yield f"{task}_val_metric", ends[id(metrics[VALIDATION_METRICS[task]])].last
    for info, value in result.get("model_info", {}).items():
        if isinstance(value, int | float | np.number | np.ndarray) and np.size(value) == 1:
            yield f"{task}_{to_text(info)}", to_float(value)


read_micro, read_macro = partial(read_transnas, "micro"), partial(read_transnas, "macro")
