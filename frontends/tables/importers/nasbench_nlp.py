"""Importer of NAS-Bench-NLP: the logs of the release, a folder or `logs.zip` of one JSON file for each training.

The authors' main_one_model_train.py writes `recepie` (JSON in a string), `recepie_id`, `num_params`, `status`, and per
epoch `train_losses`, `val_losses`, `test_losses` and `wall_times` (seconds).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from cgir.limits import DEFAULT, Limits
from frontends import spaces
from frontends.tables.safe_load.archive_members import read_members
from frontends.tables.table import Table

from .record_columns import compact_json, record_errors, to_columns, to_float, to_floats, to_text

EPOCHS = (3, 10, 25, 50)


def read_nasbench_nlp(path: Path, limits: Limits = DEFAULT) -> Table:
    """A row for each training, by recipe; several runs of a recipe are several rows. Losses: lower is better.

    `{train,val,test}_loss_{E}ep` for E in 3, 10, 25, 50; `best_val_loss`, and the `best_val_epoch_test_loss` of that
    epoch; `final_test_loss`; `epochs_run`, `epochs_planned`, `mean_epoch_s`, `num_params`, `recipe_id`,
    `seed_experiment_id`. `text_columns["status"]` is "OK" for those that did not break off,
    `text_columns["dataset"]` the name of the corpus' folder.

    Raises:
        FileFormatError: damaged or foreign; the message names the file.
    """
    spec_strings, rows, status, datasets = [], [], [], []
    for member in read_members(path, lambda name: name.endswith(".json")):
        with record_errors(member.origin, "logs of NAS-Bench-NLP"):
            log = json.loads(member.content)
            recipe = log["recepie"]
            spec_strings.append(compact_json(json.loads(recipe) if isinstance(recipe, str) else recipe))
            rows.append(_row(log))
            status.append(" ".join(to_text(log["status"]).split()))
            datasets.append(Path(to_text(log.get("data", ""))).name)
    text_columns = {"dataset": tuple(datasets), "status": tuple(status)}
    return Table(
        "nasbench_nlp", tuple(spec_strings), to_columns(rows), spaces.get("nasbench_nlp"), text_columns=text_columns
    )


def _row(log: dict[str, Any]) -> dict[str, float]:
    curves = {part: to_floats(log[f"{part}_losses"]) for part in ("train", "val", "test")}
    run = len(curves["val"])
    if any(len(curve) != run for curve in curves.values()):
        raise ValueError(f"losses of {', '.join(f'{len(curve)} {part}' for part, curve in curves.items())} epochs")
    row = {
        "recipe_id": to_float(log.get("recepie_id")),
        "seed_experiment_id": to_float(log.get("experiment_id")),
        "num_params": to_float(log["num_params"]),
    }
    seconds = to_floats(log.get("wall_times", []))
    row |= {
        "epochs_run": run,
        "epochs_planned": to_float(log.get("epochs")),
        "mean_epoch_s": float(seconds.mean()) if len(seconds) else np.nan,
    }
    row |= {
        f"{part}_loss_{epoch}ep": float(curve[epoch - 1]) if epoch <= run else np.nan
        for part, curve in curves.items()
        for epoch in EPOCHS
    }
    if np.isfinite(curves["val"]).any():
        best = int(np.nanargmin(curves["val"]))
        row |= {"best_val_loss": float(curves["val"][best]), "best_val_epoch_test_loss": float(curves["test"][best])}
    return row | {"final_test_loss": float(curves["test"][-1]) if run else np.nan}
