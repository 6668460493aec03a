"""Graphs that `benchmarks.encoding` embeds: random networks of search spaces, and models of timm."""

from __future__ import annotations

from functools import cache

import numpy as np
from tqdm import tqdm

import frontends
from cgir import GraphBatch, GraphStore
from frontends import spaces

from .report import ROOT
from .zoo.families import REPRESENTATIVES
from .zoo.torch_models import build

TIMM = 64  # models of timm


@cache
def random_networks(name: str, count: int) -> GraphBatch:
    """Random networks of a space."""
    space, rng = spaces.get(name), np.random.default_rng(0)
    return space.graphs([space.sample(rng) for _ in range(count)])


@cache
def timm_graphs() -> GraphBatch:
    """Models of different families; traced once, then kept in runs/."""
    path = ROOT / "runs" / "encoding" / "timm.parquet"
    if not path.exists():
        chosen = [REPRESENTATIVES[i] for i in np.linspace(0, len(REPRESENTATIVES) - 1, TIMM).astype(int)]
        path.parent.mkdir(parents=True, exist_ok=True)
        GraphStore.write(
            path,
            (frontends.trace(*build(f"timm/{name}")) for name in tqdm(chosen, desc="tracing")),
            family="timm",
            specs=chosen,
        )
    return GraphStore.open(path).batch()
