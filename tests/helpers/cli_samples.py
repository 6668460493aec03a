"""Models, measurements and stand-ins that tests of several commands use."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

import encoders

NET = """
import torch
from torch import nn

def build():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), \
nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))

class Branches(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x + 1
        return x

def keras_net():
    from keras import Sequential, layers

    rest = [layers.Conv2D(8, 3), layers.BatchNormalization(), layers.ReLU(), \
layers.GlobalAveragePooling2D(), layers.Dense(10)]
    return Sequential([layers.Input((32, 32, 3)), *rest])

def onnx_net():
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "time", 4]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "net", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])

def nothing_installed():
    raise ModuleNotFoundError("No module named 'timm'", name="timm")

net = build()
number = 3
"""
NETS = """
from torch import nn

def net(width):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(), \
nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))
"""
WIDTHS = (4, 6, 8, 12, 16, 24, 32)
SHAPE = ["--input-shape", "1,3,16,16"]
TRAINED = ["--encoder", "none", "--head", "gp"]


class Estimate(NamedTuple):
    """As the shipped weights give it."""

    scores: Any
    stds: Any
    unit: str
    reliability: str
    outside: Mapping[int, str] = {}


def run_cgir(*words: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    return subprocess.run([sys.executable, "-m", "cgir", *words], capture_output=True, text=True, check=False)


def write_net(folder: Path) -> Path:
    """Write a Python file with models of all frameworks."""
    path = folder / "small_net.py"
    path.write_text(NET)
    return path


def write_nets(folder: Path) -> list[str]:
    """Write seven networks to a Python file, and name them as a user in its folder does."""
    functions = "".join(f"\ndef w{width}():\n    return net({width})\n" for width in WIDTHS)
    (folder / "nets.py").write_text(NETS + functions)
    return [f"nets.py:w{width}" for width in WIDTHS]


def measured(path: str, values: dict[str, float]) -> str:
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("model", "accuracy"), *values.items()])
    return path


def ranked(text: str) -> list[list[str]]:
    """The words of each line of a ranking."""
    return [line.split() for line in text.splitlines() if re.match(r" +\d+ ", line)]


def ship_weights(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stands in for the weights that come with the package: the score is the number of operators."""
    task = {
        "unit": "%",
        "about": "accuracy on ImageNet",
        "families": ["timm", "ofa_mbv3"],
        "worth": {"timm": 0.61, "ofa_mbv3": 0.9},
    }
    card: dict[str, Any] = {"tasks": {"imagenet_top1": task}}

    def zero_shot(graphs: Any, name: str) -> Estimate:
        sizes = np.diff(graphs.ptr).astype(float)
        return Estimate(
            sizes, sizes / 10, card["tasks"][name]["unit"], "On families left out it ranked 9 of 10 pairs alike."
        )

    pretrained, shot = (ModuleType(f"encoders.predictors.{name}") for name in ("pretrained", "zero_shot"))
    vars(pretrained).update(
        card=lambda _: card, load_pretrained=lambda _: encoders.Encoder(seed=0), NAMES=("universal",)
    )
    vars(shot).update(zero_shot=zero_shot)
    for module in (pretrained, shot):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return card
