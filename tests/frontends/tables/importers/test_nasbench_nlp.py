"""NAS-Bench-NLP: logs as its authors wrote them; damaged ones are named."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cgir
from frontends.tables.importers import import_table

RECIPE = {"f": {"op": "linear", "input": ["x", "h_prev_0"]}, "h_new_0": {"op": "activation_tanh", "input": ["f"]}}


def log_nlp(epochs: int, status: str = "OK") -> dict[str, Any]:
    losses = [6 - 0.1 * epoch + (epoch == 12) * 9 for epoch in range(1, epochs + 1)]
    return {
        "data": "data/ptb", "recepie_id": 7, "recepie": json.dumps(RECIPE), "epochs": 50, "experiment_id": 999,
        "num_params": 5_731_600, "cuda": True,
        "wall_times": [2.0, 4.0] * (epochs // 2), "train_losses": losses, "val_losses": [loss + 1 for loss in losses],
        "test_losses": [loss + 2 for loss in losses], "status": status,
    }  # fmt: skip


def test_logs_of_nasbench_nlp(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    broken = log_nlp(4, "loss is nan!")
    broken["val_losses"][-1] = float("nan")
    for name, log in (("a", log_nlp(50)), ("b", broken), ("c", log_nlp(0, "Exception: math range error"))):
        (folder / f"log_stats_model_{name}.json").write_text(json.dumps(log))
    with zipfile.ZipFile(tmp_path / "logs.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"logs/{file.name}")
        archive.writestr("__MACOSX/logs/._log_stats_model_a.json", b"\0\5\x16\7")
    for path in (folder, tmp_path / "logs.zip"):
        table = import_table("nasbench_nlp", path)
        assert set(table.spec_strings) == {json.dumps(RECIPE, separators=(",", ":"))}
        assert table.text_columns == {
            "dataset": ("ptb",) * 3,
            "status": ("OK", "loss is nan!", "Exception: math range error"),
        }
        expected = {
            "train_loss_3ep": [5.7, 5.7, np.nan], "val_loss_10ep": [6, np.nan, np.nan],
            "test_loss_50ep": [3, np.nan, np.nan],
            "best_val_loss": [2, 6.7, np.nan],
            "best_val_epoch_test_loss": [3, 7.7, np.nan], "final_test_loss": [3, 7.6, np.nan],
            "epochs_run": [50, 4, 0], "epochs_planned": [50] * 3,
            "mean_epoch_s": [3, 3, np.nan], "num_params": [5_731_600] * 3, "recipe_id": [7] * 3,
            "seed_experiment_id": [999] * 3,
        }  # fmt: skip
        for metric, values in expected.items():
            np.testing.assert_allclose(table[metric], values, rtol=1e-12)
    for change, complaint in (
        (lambda log: log.pop("recepie"), "no 'recepie'"),
        (lambda log: log.update(recepie="[1]"), "a recipe is a JSON object, found list"),
        (lambda log: log.update(val_losses=[1.0]), "losses of 50 train, 1 val, 50 test epochs"),
    ):
        log = log_nlp(50)
        change(log)
        (folder / "log_stats_model_b.json").write_text(json.dumps(log))
        with pytest.raises(cgir.FileFormatError, match=rf"log_stats_model_b\.json: .*{complaint}"):
            import_table("nasbench_nlp", folder)
