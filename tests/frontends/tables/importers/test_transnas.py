"""TransNAS-Bench-101: its file as PyTorch writes it; damaged ones are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import cgir
from frontends import spaces
from frontends.tables.importers import import_table

CHOSEN = {
    "class_scene": "valid_top1",
    "room_layout": "valid_neg_loss",
    "segmentsemantic": "valid_acc",
    "normal": "valid_ssim",
}
NETWORKS = {"micro": ("64-41414-1_30_321", "64-41414-0_31_203"), "macro": ("64-433241-basic",)}


def curve(text: str, task: str) -> list[float]:
    return [0.1, len(text) / 7, -len(task) / 3]


def transnas() -> dict[str, Any]:
    data = {
        space: {
            text: {
                task: {
                    "model_info": {"encoder_params": 1.5, "arch": text},
                    "metrics": {metric: curve(text, task), "train_loss": [1, 2]},
                    "total_epochs": 3,
                }
                for task, metric in CHOSEN.items()
            }
            for text in texts
        }
        for space, texts in NETWORKS.items()
    }
    return {
        "metrics_dict": {task: [metric] for task, metric in CHOSEN.items()},
        "info_names": ["encoder_params"],
        "task_list": list(CHOSEN),
        "data": data,
    }


@pytest.mark.parametrize("archive", [True, False], ids=["zip", "stream"])
def test_transnas_of_both_spaces(archive: bool, tmp_path: Path) -> None:
    torch.save(transnas(), tmp_path / "transnas-bench.pth", _use_new_zipfile_serialization=archive)
    for space, texts in NETWORKS.items():
        table = import_table(f"transnas_{space}", tmp_path / "transnas-bench.pth")
        assert table.spec_strings == texts
        assert table.space == spaces.get(f"transnas_{space}")
        for task, metric in CHOSEN.items():
            curves = [curve(text, task) for text in texts]
            assert (
                table[f"{task}_{metric}"].tolist()
                == table[f"{task}_val_metric"].tolist()
                == [values[-1] for values in curves]
            )
            assert table[f"{task}_{metric}_best"].tolist() == [max(values) for values in curves]
            assert table[f"{task}_train_loss"].tolist() == [2] * len(texts)
            assert table[f"{task}_encoder_params"].tolist() == [1.5] * len(texts)
        assert not any("arch" in metric or "train_loss_best" in metric for metric in table.metrics)


def test_damaged_files_of_transnas_are_named(tmp_path: Path) -> None:
    file = tmp_path / "x.pth"
    for change, complaint in (
        (
            lambda value: value.pop("data"),
            "no architectures of the micro space under the key 'data'; found metrics_dict, info_names, task_list",
        ),
        (lambda value: value["data"].pop("micro"), "found macro"),
        (
            lambda value: value["data"]["micro"][NETWORKS["micro"][1]]["normal"].pop("metrics"),
            "64-41414-0_31_203: no 'metrics'",
        ),
        (
            lambda value: value["data"]["micro"][NETWORKS["micro"][1]]["normal"]["metrics"].pop("valid_ssim"),
            "64-41414-0_31_203: no 'valid_ssim'",
        ),
        (lambda value: value["data"]["micro"][NETWORKS["micro"][1]].update(normal=3), "64-41414-0_31_203: not results"),
        (lambda value: value["data"]["micro"].update({"64-41414-9_31_203": {}}), "row 2: transnas_micro: "),
    ):
        value = transnas()
        change(value)
        torch.save(value, file)
        with pytest.raises(cgir.FileFormatError, match=rf"x\.pth: .*{complaint}"):
            import_table("transnas_micro", file)
