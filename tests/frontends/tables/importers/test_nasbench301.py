"""NAS-Bench-301: trainings as its authors wrote them; damaged ones are named."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

import cgir
from frontends import spaces
from frontends.tables.importers import import_table

CELL_301 = (
    ("sep_conv_3x3", 0), ("skip_connect", 1), ("dil_conv_5x5", 0), ("max_pool_3x3", 2),
    ("sep_conv_5x5", 1), ("avg_pool_3x3", 3), ("skip_connect", 0), ("dil_conv_3x3", 4),
)  # fmt: skip
FIRST_EDGE = (0, 2, 5, 9)


def training_301(accuracy: float, channels: int = 32, layers: int = 8) -> dict[str, Any]:
    prefix = "NetworkSelectorDatasetInfo:darts:"
    config: dict[str, Any] = {
        "OptimizerSelector:sgd:learning_rate": 0.03,
        f"{prefix}init_channels": channels,
        f"{prefix}layers": layers,
    }
    for kind in ("normal", "reduce"):
        for node in range(4):
            pair = CELL_301[2 * node : 2 * node + 2]
            config |= {f"{prefix}edge_{kind}_{FIRST_EDGE[node] + source}": op for op, source in pair}
            if node:
                config[f"{prefix}inputs_node_{kind}_{node + 2}"] = "_".join(str(source) for _, source in pair)
    info = {
        "train_accuracy": 86.6,
        "val_accuracy": accuracy,
        "epochs": 98,
        "model_parameters": 1_234_567,
        "train_loss": 0.66,
    }
    return {
        "final_metric_score": -accuracy,
        "optimized_hyperparamater_config": config,
        "budget": 100,
        "info": [info],
        "test_accuracy": 97.5,
        "runtime": 9999,
    }


def test_nasbench301_trainings(tmp_path: Path) -> None:
    folder = tmp_path / "nb_301_v13"
    for run, accuracy in (("de", 90.5), ("rs", 91.5)):
        (folder / run).mkdir(parents=True)
        (folder / run / "results_0.json").write_text(json.dumps(training_301(accuracy)))
        (folder / run / "surrogate.json").write_text("{}")
    with zipfile.ZipFile(tmp_path / "nb_301.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*.json")):
            archive.write(file, file.relative_to(folder))
    cell = f"{list(CELL_301)}"
    genotype = f"Genotype(normal={cell}, normal_concat=range(2, 6), reduce={cell}, reduce_concat=range(2, 6))"
    for path in (folder, tmp_path / "nb_301.zip"):
        table = import_table("nasbench301", path)
        assert table.specs == (spaces.get("darts").parse(genotype),) * 2
        assert table.space == spaces.get("darts", channels=32, layers=8)
        assert table.text_columns["source"] == ("de", "rs")
        assert table["val_accuracy"].tolist() == [90.5, 91.5]
        expected = {
            "test_accuracy": 97.5, "budget": 100, "epochs": 98, "init_channels": 32, "layers": 8,
            "model_parameters": 1_234_567, "runtime_s": 9999,
        }  # fmt: skip
        assert {metric: table[metric][0] for metric in expected} == expected
    (folder / "rs" / "results_1.json").write_text(json.dumps(training_301(92.5, layers=20)))
    assert import_table("nasbench301", folder).space == spaces.get("darts")
    for content, complaint in (
        ("{}", "no 'optimized_hyperparamater_config'"),
        ("[", "not trainings"),
        ('{"optimized_hyperparamater_config": {}}', "darts: "),
    ):
        (folder / "rs" / "results_1.json").write_text(content)
        with pytest.raises(cgir.FileFormatError, match=rf"results_1\.json: .*{complaint}"):
            import_table("nasbench301", folder)
