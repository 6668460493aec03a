"""NAS-Bench-NLP: the logs of the release, a folder or `logs.zip` of one JSON file for each training.

The authors' main_one_model_train.py writes `recepie` (JSON in a string), `recepie_id`, `num_params`, `status`, and per
epoch `train_losses`, `val_losses`, `test_losses` and `wall_times` (seconds).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from frontends import spaces
from frontends.tables.safe_load.archive_members import read_members
from frontends.tables.table import Table

from .record_columns import columns_of, compact, naming, number, numbers_of

EPOCHS = (3, 10, 25, 50)


def read_nasbench_nlp(path: Path) -> Table:
    """A row for each training, by recipe; several runs of a recipe are several rows. Losses: lower is better.

    `{train,val,test}_loss_{E}ep` for E in 3, 10, 25, 50; `best_val_loss`, and the `best_val_epoch_test_loss` of that
    epoch; `final_test_loss`; `epochs_run`, `epochs_planned`, `mean_epoch_s`, `num_params`, `recipe_id`,
    `seed_experiment_id`. `groups["status"]` is "OK" for those that did not break off, `groups["dataset"]` the name of
    the corpus' folder.

    Raises:
        FileFormatError: damaged or foreign; the message names the file.
    """
    texts, rows, status, datasets = [], [], [], []
    for member in read_members(path, lambda name: name.endswith(".json")):
        with naming(member.origin, "logs of NAS-Bench-NLP"):
            log = json.loads(member.content)
            recipe = log["recepie"]
            texts.append(compact(json.loads(recipe) if isinstance(recipe, str) else recipe))
            rows.append(_row(log))
            status.append(" ".join(str(log["status"]).split()))
            datasets.append(Path(str(log.get("data", ""))).name)
    groups = {"dataset": tuple(datasets), "status": tuple(status)}
    return Table("nasbench_nlp", tuple(texts), columns_of(rows), spaces.get("nasbench_nlp"), text_columns=groups)


def _row(log: dict[str, Any]) -> dict[str, float]:
    curves = {part: numbers_of(log[f"{part}_losses"]) for part in ("train", "val", "test")}
    run = len(curves["val"])
    if any(len(curve) != run for curve in curves.values()):
        raise ValueError(f"losses of {', '.join(f'{len(curve)} {part}' for part, curve in curves.items())} epochs")
    row = {
        "recipe_id": number(log.get("recepie_id")),
        "seed_experiment_id": number(log.get("experiment_id")),
        "num_params": number(log["num_params"]),
    }
    seconds = numbers_of(log.get("wall_times", []))
    row |= {
        "epochs_run": run,
        "epochs_planned": number(log.get("epochs")),
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
