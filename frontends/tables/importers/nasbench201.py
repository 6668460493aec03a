"""Importer of NAS-Bench-201 and the topology space of NATS-Bench: official files, read without running a pickle.

* NATS-tss-v1_0-3ffb9-simple or -full: a folder or tar of 000000.pickle.pbz2 ..., each a dictionary from "12" and "200"
  (epochs) to a result;
* NATS-tss-v1_0-3ffb9.pickle.pbz2 and NAS-Bench-201-v1_*.pth: all results in one, `arch2infos`: index -> ("less": 12,
  "full": 200) -> result;
* NAS-Bench-201-v1_1-archive: a folder of 000000-FULL.pth ... with "less" and "full".

A result is the state of an `ArchResults`: `arch_index`, `arch_str`, `dataset_seed`: data set -> seeds, `all_results`:
(data set, seed) -> state of a `ResultsCount` (nats_bench/api_utils.py): `epochs`, `eval_names`, `eval_acc1es` with keys
"SET@EPOCH", `flop` and `params` in millions, `latency` in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from tqdm import tqdm

from cgir.errors import FileFormatError
from cgir.limits import DEFAULT, Limits
from frontends import spaces
from frontends.tables.safe_load.archive_members import Member, open_bz2, read_members
from frontends.tables.safe_load.pickle_reader import Record
from frontends.tables.safe_load.torch_reader import read_torch, read_torch_stream, unpickle_tensors
from frontends.tables.table import Table

from .record_columns import preview, record_errors, to_columns, to_float, to_floats, to_int, to_text

Means = dict[int, float]  # by the list's id: one list of the file may stand for many
MOST_SEEDS = 16  # of a cell and a data set; the benchmark has up to three
EPOCHS = {"12": 12, "200": 200, "less": 12, "full": 200}
METRIC_NAMES = {
    ("cifar10-valid", "x-valid"): "cifar10valid_xvalid",
    ("cifar10-valid", "ori-test"): "cifar10valid_oritest",
    ("cifar10", "ori-test"): "cifar10_test",
    **{
        (data, part): f"{name}_{suffix}"
        for data, name in (("cifar100", "cifar100"), ("ImageNet16-120", "imagenet16_120"))
        for part, suffix in (("x-valid", "xvalid"), ("x-test", "xtest"), ("ori-test", "oritest"))
    },
}
DATA_NAMES = {
    "cifar10-valid": "cifar10valid",
    "cifar10": "cifar10",
    "cifar100": "cifar100",
    "ImageNet16-120": "imagenet16_120",
}


def read_nasbench201(path: Path, limits: Limits = DEFAULT) -> Table:
    """A row for each cell, by its index in the benchmark. Accuracies in percent, after the last epoch.

    For E in 12, 200: `{SET}_{E}ep_mean` over the seeds and `{SET}_{E}ep_seed{S}`, where SET is cifar10_test (trained on
    all 50,000 images), cifar10valid_xvalid and cifar10valid_oritest (trained on half of them), and cifar100 and
    imagenet16_120 with _xvalid, _xtest (the two halves of the held-out images) and _oritest (both); `{data}_params_M`,
    `{data}_flops_M` and `{data}_latency_s`.

    Raises:
        FileFormatError: damaged, foreign, or of the size space; the message names the member and the cell.
    """
    rows: dict[int, tuple[str, dict[str, float]]] = {}
    for origin, results, means in _cells(path, limits):
        index, text, row = _row(origin, results, means)
        if index in rows:
            raise FileFormatError(f"{origin}: cell {index} for the second time")
        rows[index] = (text, row)
    order = sorted(rows)
    spec_strings = tuple(rows[index][0] for index in order)
    columns = to_columns([rows[index][1] for index in order])
    return Table(
        "nasbench201", spec_strings, {name: columns[name] for name in sorted(columns)}, spaces.get("nasbench201")
    )


def _cells(path: Path, limits: Limits) -> Iterator[tuple[str, Any, Means]]:
    """(name in error messages, {epochs: result}, means of lists in the same file) of every cell."""
    if path.name.endswith(".pth"):
        yield from _all_in_one(str(path), read_torch(path, limits))
    elif path.name.endswith(".pickle.pbz2"):
        try:
            with path.open("rb") as stream:
                yield from _all_in_one(str(path), _unpickled(stream, path.stat().st_size, str(path), limits))
        except OSError as error:
            raise FileFormatError(f"{path}: cannot be read ({error.strerror or error})") from error
    else:
        for member in read_members(path, _is_cell):
            yield member.origin, _one(member, limits), {}


def _is_cell(name: str) -> bool:
    return name.endswith("-FULL.pth") or (name.endswith(".pickle.pbz2") and not name.endswith("meta.pickle.pbz2"))


def _one(member: Member, limits: Limits) -> Any:
    stream = BytesIO(member.content)
    if member.name.endswith(".pth"):
        return read_torch_stream(BufferedReader(stream), len(member.content), member.origin, limits)
    return _unpickled(stream, len(member.content), member.origin, limits)


def _unpickled(stream: IO[bytes], size: int, origin: str, limits: Limits) -> Any:
    with open_bz2(stream, size, origin) as content:
        return unpickle_tensors(content, origin, limits=limits)


def _all_in_one(origin: str, value: object) -> Iterator[tuple[str, Any, Means]]:
    cells = value.get("arch2infos") if isinstance(value, dict) else None
    if not isinstance(cells, dict):
        raise FileFormatError(f"{origin}: no dictionary with the key 'arch2infos'; found {preview(value)}")
    means: Means = {}
    for index, results in tqdm(cells.items(), desc=Path(origin).name, unit="cell", delay=1):
        yield f"{origin}: cell {preview(index)}", results, means


def _row(origin: str, results: Any, means: Means) -> tuple[int, str, dict[str, float]]:
    row: dict[str, float] = {}
    names: set[tuple[int, str]] = set()
    with record_errors(origin, "results of NAS-Bench-201"):
        for key, result in results.items():
            if preview(key) not in EPOCHS:
                raise FileFormatError(
                    f"{origin}: results after {preview(key)!r} epochs, expected 12 and 200; "
                    "the size space of NATS-Bench has other files"
                )
            state = _state(result)
            names.add((to_int(state["arch_index"]), to_text(state["arch_str"])))
            row |= _result(state, EPOCHS[preview(key)], means)
        if len(names) != 1:
            raise ValueError(f"{len(names)} cells in one")
    [(index, text)] = names
    return index, text, row


def _state(value: object) -> Mapping[str, Any]:
    """The fields of a result, whether it was saved as a dictionary or as an object."""
    fields = vars(value) if isinstance(value, Record) else value
    if not isinstance(fields, dict):
        raise TypeError(f"a result is a {type(value).__name__}")
    return fields


def _result(state: Mapping[str, Any], epochs: int, means: Means) -> dict[str, float]:
    values_of: dict[str, list[float]] = {}
    row: dict[str, float] = {}
    for data, seeds in state["dataset_seed"].items():
        if data not in DATA_NAMES:
            raise ValueError(f"data set {preview(data)!r}")
        for seed in map(to_int, _distinct(seeds)):
            trial = _state(state["all_results"][data, seed])
            last = to_int(trial["epochs"]) - 1
            for part in map(to_text, _distinct(trial["eval_names"])):
                accuracy = to_float(trial["eval_acc1es"][f"{part}@{last}"])
                name = f"{METRIC_NAMES[data, part]}_{epochs}ep"
                row[f"{name}_seed{seed}"] = accuracy
                values_of.setdefault(f"{name}_mean", []).append(accuracy)
            costs = {"params_M": trial["params"], "flops_M": trial["flop"]}
            if trial.get("latency") and _mean(trial["latency"], means) > 0:  # -1 where it was not measured
                costs["latency_s"] = _mean(trial["latency"], means)
            for name, value in costs.items():
                values_of.setdefault(f"{DATA_NAMES[data]}_{name}", []).append(to_float(value))
    return row | {name: float(np.mean(values)) for name, values in values_of.items()}


def _mean(values: object, means: Means) -> float:
    if id(values) not in means:
        means[id(values)] = float(to_floats(values).mean())
    return means[id(values)]


def _distinct(values: object) -> Sequence[object]:
    """A short list without repetitions: one object of the file may stand for many, each of which would be read."""
    if not isinstance(values, list | tuple) or len(values) > MOST_SEEDS:
        raise ValueError(f"a list of at most {MOST_SEEDS} seeds or names is expected")
    if len({value if isinstance(value, int | str) else id(value) for value in values}) < len(values):
        raise ValueError("a seed or name twice in one list")
    return values
