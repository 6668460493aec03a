"""Importer of NAS-Bench-301: the trainings of its surrogates, a folder or zip (nb_301_v13) of RUN/results_N.json.

Each has `optimized_hyperparamater_config` (cells as edges and their inputs, and the skeleton), `info` (a list with the
last epoch first in it), `test_accuracy`, `runtime` in seconds and `budget` in epochs (the authors'
surrogate_models/utils.py reads them so).
"""

from __future__ import annotations

import json
from pathlib import Path, PurePath
from typing import Any

from cgir.limits import DEFAULT, Limits
from frontends import spaces
from frontends.spaces.darts.space import from_nasbench301
from frontends.tables.safe_load.archive_members import read_members
from frontends.tables.table import Table

from .record_columns import record_errors, to_columns, to_float

CONFIG_PREFIX = "NetworkSelectorDatasetInfo:darts:"


def read_nasbench301(path: Path, limits: Limits = DEFAULT) -> Table:
    """A row for each training. CIFAR-10, percent; validation on 10,000 images held out of the training set.

    `val_accuracy`, `test_accuracy`, `train_accuracy`, `budget` (epochs planned), `epochs`, `init_channels`, `layers`,
    `model_parameters`, `runtime_s`; `text_columns["source"]` is the folder of the run, which names the optimiser that
    proposed the cell. Trainings of different `init_channels`, `layers` or `budget` are not comparable; where all have
    the same, the table's space has that skeleton.

    Raises:
        FileFormatError: damaged or foreign; the message names the file.
    """
    default = spaces.get("darts")
    spec_strings, rows, sources = [], [], []
    for member in read_members(path, lambda name: name.endswith(".json") and "results" in PurePath(name).name):
        with record_errors(member.origin, "trainings of NAS-Bench-301"):
            training = json.loads(member.content)
            config = training["optimized_hyperparamater_config"]
            spec_strings.append(default.format(from_nasbench301(config)))
            rows.append(_row(training, config))
            sources.append(PurePath(member.name).parent.as_posix())
    skeletons = {(row["init_channels"], row["layers"]) for row in rows}
    space = default
    if len(skeletons) == 1:
        [(channels, layers)] = skeletons
        space = spaces.get("darts", channels=int(channels), layers=int(layers))
    return Table("nasbench301", tuple(spec_strings), to_columns(rows), space, text_columns={"source": tuple(sources)})


def _row(training: dict[str, Any], config: dict[str, Any]) -> dict[str, float]:
    info = training["info"][0]
    skeleton = {name: to_float(config[f"{CONFIG_PREFIX}{name}"]) for name in ("init_channels", "layers")}
    if not all(size >= 1 and size.is_integer() for size in skeleton.values()):
        raise ValueError(f"a skeleton of {skeleton}")
    return {
        "val_accuracy": to_float(info["val_accuracy"]),
        "test_accuracy": to_float(training["test_accuracy"]),
        "train_accuracy": to_float(info.get("train_accuracy")),
        "budget": to_float(training.get("budget")),
        "epochs": to_float(info.get("epochs")),
        **skeleton,
        "model_parameters": to_float(info.get("model_parameters")),
        "runtime_s": to_float(training.get("runtime")),
    }
