"""Networks as LEMUR writes them, made up here; no code of its wheel."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

PLAIN = """
import os
import gc
import torch
import torch.nn as nn
from torch.amp import GradScaler

def supported_hyperparameters():
    return {"lr", "momentum", "dropout"}

class Net(nn.Module):
    def __init__(self, in_shape, out_shape, prm, device):
        super().__init__()
        self.device = device
        self.features = nn.Sequential(
            nn.Conv2d(in_shape[1], 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2)
        )
        with torch.no_grad():  # the usual way to learn a size
            size = self.features.to("cpu")(torch.zeros(1, *in_shape[1:], device="cpu")).view(1, -1).shape[1]
        self.head = nn.Sequential(nn.Dropout(prm["dropout"]), nn.Linear(size, out_shape[0]))

    def forward(self, x):
        if next(self.parameters()).device != x.device:
            self.to(x.device)
        return self.head(torch.flatten(self.features(x.to(torch.float32)), 1))

    def train_setup(self, prm):
        self.to(self.device)
        self.optimizer = torch.optim.SGD(self.parameters(), lr=prm["lr"], momentum=prm["momentum"])
        self.scaler = GradScaler("cuda", enabled=False)

    def learn(self, train_data):
        for inputs, labels in train_data:
            self(inputs.to(self.device))
        gc.collect()
"""

BRANCHES = """
import math
import torch
from torch import nn
from torch.nn import functional as F
from typing import List

class Branch(nn.Module):
    def __init__(self, width: int, depth: int):
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(width, width, 3, padding=1) for _ in range(depth)])

    def forward(self, x):
        outs: List[torch.Tensor] = []
        for layer in self.layers:
            x = F.relu(layer(x))
            outs.append(x)
        return torch.stack(outs).mean(dim=0)

class Net(nn.Module):
    def __init__(self, in_shape, out_shape, prm, device):
        super().__init__()
        width = 2 ** int(math.log2(16))
        self.stem = nn.Conv2d(3, width, 5, stride=2)
        self.rates = nn.Parameter(torch.linspace(0.1, 1.0, width).view(1, -1, 1, 1))
        if float(self.rates.detach().max()) < prm["unheard_of"]:  # values of tensors are looked at
            raise ValueError("no such network")
        self.branches = nn.ModuleList([Branch(width, depth) for depth in (1, 2, 3)])
        self.head = nn.Linear(3 * width, out_shape[0])

    def forward(self, x):
        x = self.stem(x) * self.rates
        x = torch.cat([branch(x) for branch in self.branches], 1)
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))
"""

ENDLESS = PLAIN.replace("        self.device = device\n", "        while True:\n            pass\n")
HUNGRY = PLAIN.replace(
    "        self.device = device\n", "        self.all = [bytearray(1 << 26) for _ in range(1 << 12)]\n"
)
BROKEN = PLAIN.replace("MaxPool2d(2)", "Conv2d(9, 9, 3)")


def write_wheel(path: Path, sources: Mapping[str, str]) -> Path:
    """A wheel with these networks."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, source in sources.items():
            archive.writestr(f"ab/nn/nn/{name}.py", source)
    return path
