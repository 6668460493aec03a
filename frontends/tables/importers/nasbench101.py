"""Importer of NAS-Bench-101: `nasbench_only108.tfrecord` and `nasbench_full.tfrecord`, without TensorFlow.

Each record is a JSON list [module hash, epochs, adjacency row by row, operations with commas, base64 of a
ModelMetrics], one for each training (the authors' nasbench/api.py). ModelMetrics is a protocol buffer
(nasbench/lib/model_metrics.proto): 1 repeated EvaluationData (at the start, half-way and at the end of training), 2
trainable parameters; EvaluationData: doubles 1 epoch, 2 seconds, 3 train, 4 validation, 5 test accuracy.
"""

from __future__ import annotations

import json
import os
from array import array
from base64 import b64decode
from pathlib import Path
from struct import unpack_from

import numpy as np
from tqdm import tqdm

from cgir.errors import FileFormatError
from cgir.limits import DEFAULT, Limits
from cgir.typing import FloatArray, IntArray
from frontends import spaces
from frontends.tables.safe_load.tfrecord_reader import read_records
from frontends.tables.table import Table

from .record_columns import record_errors, to_text

LABELS = {"conv3x3-bn-relu": "0", "conv1x1-bn-relu": "1", "maxpool3x3": "2"}
SECONDS, TRAIN, VALIDATION, TEST = 2, 3, 4, 5
METRIC_FIELDS = {
    "training_time_s": SECONDS,
    "cifar10_train_acc": TRAIN,
    "cifar10_val_acc": VALIDATION,
    "cifar10_test_acc": TEST,
}


def read_nasbench101(path: Path, limits: Limits = DEFAULT) -> Table:
    """A row for each cell, in the file's order. Accuracies are fractions.

    For E in the epochs of the file and each run R of a cell: `cifar10_{train,val,test}_acc_{E}ep_run{R}`, their mean
    `..._{E}ep_mean`, `..._{E}ep_half_mean` at half the epochs, and `training_time_s_{E}ep_mean`;
    `trainable_parameters`. The official file has three runs.

    Raises:
        FileFormatError: the file or a record of it is damaged; the message names the record, counted from 0.
    """
    cells: dict[str, int] = {}
    spec_strings: list[str] = []
    parameters = array("d")
    trainings = (array("q"), array("q"), array("d"))  # cell, epochs, then 8 numbers
    with tqdm(total=os.path.getsize(path), unit="B", unit_scale=True, desc=path.name, delay=1) as bar:
        for number, raw in enumerate(read_records(path, bar.update)):
            with record_errors(f"{path}: record {number}", "records of NAS-Bench-101"):
                key, epochs, adjacency, operations, metrics = json.loads(raw)
                half, final, count = model_metrics(b64decode(metrics, validate=True))
                if key not in cells:
                    spec_strings.append(spec_string(adjacency, operations))
                    cells[to_text(key)] = len(cells)
                    parameters.append(count)
                trainings[0].append(cells[to_text(key)])
                trainings[1].append(epochs)
                trainings[2].extend(half[field] for field in METRIC_FIELDS.values())
                trainings[2].extend(final[field] for field in METRIC_FIELDS.values())
    if not spec_strings:
        raise FileFormatError(f"{path}: no records")
    rows, epochs_of = np.asarray(trainings[0]), np.asarray(trainings[1])
    values = np.asarray(trainings[2]).reshape(len(rows), 2, len(METRIC_FIELDS))
    most_runs = int(np.unique(np.stack([rows, epochs_of]), axis=1, return_counts=True)[1].max())
    claimed = len(spec_strings) * most_runs * len(np.unique(epochs_of)) * values[0].nbytes
    limits.check("bytes", claimed - os.path.getsize(path), f"{path}: a table of {most_runs} runs")
    columns = _columns(len(spec_strings), rows, epochs_of, values)
    columns["trainable_parameters"] = np.asarray(parameters)
    return Table(
        "nasbench101",
        tuple(spec_strings),
        columns,
        spaces.get("nasbench101"),
        text_columns={"module_hash": tuple(cells)},
    )


def spec_string(adjacency: str, operations: str) -> str:
    """The spec string of a record's cell."""
    first, *interior, last = to_text(operations).split(",")
    if (first, last) != ("input", "output") or any(label not in LABELS for label in interior):
        raise ValueError(f"operations {operations[:80]!r}")
    return f"{to_text(adjacency)}:{''.join(LABELS[label] for label in interior)}"


def model_metrics(message: bytes) -> tuple[list[float], list[float], int]:
    """The evaluations half-way and at the end of training in a ModelMetrics, and the number of parameters.

    An evaluation is a list by the numbers of its fields, nan where absent.

    Raises:
        ValueError: the message is cut off or not one of these.
    """
    evaluations, parameters, offset = [], -1, 0  # no parameters yet
    while offset < len(message):
        field, wire_type, content, offset = _field(message, offset)
        if (field, wire_type) == (1, 2) and isinstance(content, bytes):
            evaluations.append(_evaluation(content))
        elif (field, wire_type) == (2, 0) and isinstance(content, int):
            parameters = content
    if len(evaluations) != 3 or not 0 <= parameters < 1 << 31:
        raise ValueError(
            f"metrics with {len(evaluations)} evaluations and {parameters} parameters; expected 3 and a 32-bit count"
        )
    return evaluations[1], evaluations[2], parameters


def _evaluation(message: bytes) -> list[float]:
    values, offset = [np.nan] * (TEST + 1), 0
    while offset < len(message):
        field, wire_type, content, offset = _field(message, offset)
        if wire_type == 1 and field <= TEST and isinstance(content, float):
            values[field] = content
    return values


def _field(message: bytes, offset: int) -> tuple[int, int, int | float | bytes, int]:
    """(number, wire type, content, offset of the next field)."""
    tag, offset = _varint(message, offset)
    field, wire_type = tag >> 3, tag & 7
    if wire_type == 0:
        number, offset = _varint(message, offset)
        return field, wire_type, number, offset
    size = {1: 8, 5: 4}.get(wire_type)
    if size is None:
        if wire_type != 2:
            raise ValueError(f"metrics with a field of wire type {wire_type}")
        size, offset = _varint(message, offset)
    if offset + size > len(message):
        raise ValueError("metrics that are cut off")
    content = unpack_from("<d", message, offset)[0] if wire_type == 1 else message[offset : offset + size]
    return field, wire_type, content, offset + size


def _varint(message: bytes, offset: int) -> tuple[int, int]:
    number = shift = 0
    while offset < len(message) and shift < 64:
        byte = message[offset]
        number |= (byte & 0x7F) << shift
        offset, shift = offset + 1, shift + 7
        if byte < 0x80:
            return number, offset
    raise ValueError("metrics that are cut off")


def _columns(cells: int, rows: IntArray, epochs: IntArray, values: FloatArray) -> dict[str, FloatArray]:
    columns = {}
    for epoch in np.unique(epochs).tolist():
        indices = np.flatnonzero(epochs == epoch)
        run, runs = _run(rows[indices])
        table = np.full((cells, runs, 2, len(METRIC_FIELDS)), np.nan)
        table[rows[indices], run] = values[indices]
        counts = np.maximum(np.isfinite(table).sum(1), 1)
        mean = np.where(np.isfinite(table).any(1), np.nansum(table, 1) / counts, np.nan)
        for index, name in enumerate(METRIC_FIELDS):
            columns[f"{name}_{epoch}ep_mean"] = mean[:, 1, index]
            if name != "training_time_s":
                columns[f"{name}_{epoch}ep_half_mean"] = mean[:, 0, index]
                columns |= {f"{name}_{epoch}ep_run{run}": table[:, run, 1, index] for run in range(runs)}
    return columns


def _run(rows: IntArray) -> tuple[IntArray, int]:
    """Number of each training among those of its cell, counted from 0, and the most trainings of any cell."""
    order = np.argsort(rows, kind="stable")
    starts = np.flatnonzero(np.diff(rows[order], prepend=-1))
    run = np.empty(len(rows), np.int64)
    run[order] = np.arange(len(rows)) - np.repeat(starts, np.diff(starts, append=len(rows)))
    return run, int(run.max()) + 1
