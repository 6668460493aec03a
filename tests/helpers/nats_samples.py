"""Files of NAS-Bench-201 and NATS-Bench as their authors wrote them, of three cells and invented accuracies."""

from __future__ import annotations

import bz2
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

CELLS_201 = (
    "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|",
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|",
    "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
)


SETS = {
    "cifar10-valid": ("x-valid", "ori-test"), "cifar10": ("ori-test",),
    "cifar100": ("x-valid", "x-test", "ori-test"), "ImageNet16-120": ("x-valid", "x-test", "ori-test"),
}  # fmt: skip
SEEDS = {"cifar10-valid": [777, 888], "cifar10": [777, 888, 999], "cifar100": [777], "ImageNet16-120": [888]}


def accuracy_201(index: int, epochs: int, data: str, part: str, seed: int) -> float:
    return 50 + index + epochs / 100 + 3 * list(SETS).index(data) + len(part) / 10 + seed / 1000


def trial_201(index: int, epochs: int, data: str, seed: int) -> dict[str, Any]:
    steps = range(epochs)
    curves = {
        f"{part}@{step}": accuracy_201(index, epochs, data, part, seed) * (step + 1) / epochs
        for part in SETS[data]
        for step in steps
    }
    return {
        "name": "infer.tiny", "net_state_dict": {"w": torch.arange(3.0)}, "train_acc1es": dict.fromkeys(steps, 99.0),
        "train_acc5es": None,
        "train_losses": dict.fromkeys(steps, np.float64(0.1)), "train_times": None,
        "arch_config": {"arch_str": CELLS_201[index], "num_cells": 5},
        "params": np.float64(0.1 + index), "flop": 15.0 + index, "seed": seed, "epochs": epochs,
        "latency": [0.01, 0.03], "eval_names": list(SETS[data]),
        "eval_acc1es": curves, "eval_times": {}, "eval_losses": curves,
    }  # fmt: skip


def results_201(index: int, epochs: int) -> dict[str, Any]:
    trials = {(data, seed): trial_201(index, epochs, data, seed) for data, seeds in SEEDS.items() for seed in seeds}
    return {
        "arch_index": index,
        "arch_str": CELLS_201[index],
        "all_results": trials,
        "dataset_seed": SEEDS,
        "clear_net_done": True,
    }


def cell_201(index: int, short: str = "12", full: str = "200") -> dict[str, Any]:
    return {short: results_201(index, 12), full: results_201(index, 200)}


def all_in_one(short: str, full: str) -> dict[str, Any]:
    cells = {index: cell_201(index, short, full) for index in (1, 0, 2)}
    return {"meta_archs": list(CELLS_201), "arch2infos": cells, "evaluated_indexes": [0, 1, 2], "total_archs": 3}


def nats_folder(path: Path) -> Path:
    path.mkdir()
    (path / "meta.pickle.pbz2").write_bytes(
        bz2.compress(pickle.dumps({"meta_archs": list(CELLS_201), "evaluated_indexes": {0, 1, 2}}, 4))
    )
    for index in (2, 0, 1):
        (path / f"{index:06d}.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(cell_201(index), 4)))
    return path


def nats_tar(path: Path) -> Path:
    with tarfile.open(path.with_suffix(".tar"), "w") as archive:
        archive.add(nats_folder(path), "NATS-tss-v1_0-3ffb9-full")
    return path.with_suffix(".tar")


def nats_file(path: Path) -> Path:
    file = path.with_suffix(".pickle.pbz2")
    file.write_bytes(bz2.compress(pickle.dumps(all_in_one("12", "200"), 4)))
    return file


def torch_archive(path: Path) -> Path:
    path.mkdir()
    for index in range(3):
        torch.save(cell_201(index, "less", "full"), path / f"{index:06d}-FULL.pth")
    return path


def torch_201(archive: bool) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        torch.save(all_in_one("less", "full"), path.with_suffix(".pth"), _use_new_zipfile_serialization=archive)
        return path.with_suffix(".pth")

    return write
