"""Importer of TransNAS-Bench-101: the official `transnas-bench_v10141024.pth`, both of its spaces.

The authors' api/api.py: `data`: space ("micro", "macro") -> architecture -> task -> {`metrics`: name -> value after
each epoch, `model_info`: name -> value, `total_epochs`}.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cgir.errors import FileFormatError
from frontends import spaces
from frontends.tables.safe_load.torch_reader import read_torch
from frontends.tables.table import Table

from .record_columns import preview, record_errors, to_columns, to_float, to_floats

# The metric that papers compare on each task, as NASLib reads it: higher is better everywhere
VALIDATION_METRICS = {
    "class_scene": "valid_top1", "class_object": "valid_top1", "jigsaw": "valid_top1", "room_layout": "valid_neg_loss",
    "segmentsemantic": "valid_acc", "normal": "valid_ssim", "autoencoder": "valid_ssim",
}  # fmt: skip


def read_transnas(kind: str, path: Path) -> Table:
    """A row for each architecture of one space, in the file's order.

    `{task}_{metric}` after the last epoch and `{task}_{metric}_best`, the highest of all epochs, for every metric of
    the file but those of the training images, which have the last alone; `{task}_{info}` for the model's parameters,
    FLOPs and times as the authors counted them; and `{task}_val_metric`, which repeats the validation metric that the
    published table has.

    Args:
        kind: "micro" or "macro".
        path: the official file.

    Raises:
        FileFormatError: damaged or foreign; the message names the architecture and the task.
    """
    value = read_torch(path)
    data = value.get("data") if isinstance(value, dict) else None
    if not isinstance(data, dict) or not isinstance(data.get(kind), dict):
        content = preview(value if data is None else data)
        raise FileFormatError(f"{path}: no architectures of the {kind} space under the key 'data'; found {content}")
    rows = []
    for text, tasks in tqdm(data[kind].items(), desc=path.name, unit="network", delay=1):
        with record_errors(f"{path}: {preview(text)}", "results of TransNAS-Bench-101"):
            rows.append({name: value for task, result in tasks.items() for name, value in _task(task, result)})
    return Table(f"transnas_{kind}", tuple(map(str, data[kind])), to_columns(rows), spaces.get(f"transnas_{kind}"))


def _task(task: str, result: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    curves = {metric: to_floats(values) for metric, values in result["metrics"].items()}
    for metric, curve in curves.items():
        yield f"{task}_{metric}", float(curve[-1])
        if not metric.startswith("train"):
            yield f"{task}_{metric}_best", float(curve.max())
    if task in VALIDATION_METRICS:
        yield f"{task}_val_metric", float(curves[VALIDATION_METRICS[task]][-1])
    for info, value in result.get("model_info", {}).items():
        if isinstance(value, int | float | np.number | np.ndarray) and np.size(value) == 1:
            yield f"{task}_{info}", to_float(value)


read_micro, read_macro = partial(read_transnas, "micro"), partial(read_transnas, "macro")
