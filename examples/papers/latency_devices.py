"""What `examples.papers.latency_transfer` ranks: networks with their latencies in many settings, and device splits."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from cgir import GraphStore
from cgir.typing import FloatArray, IntArray
from encoders.features.graph_features import GraphFeatures, compute_features
from examples.papers.universal_families import TIMM, trace_timm
from frontends import tables

KNOWN = 900  # networks measured on the other devices, as in HELP's meta-training
RANKED = 2_000  # networks that are ranked, drawn once, at most half; labels are drawn from the others
TIMM_MEASURED = 400  # networks that a setting of timm must have, to be one here
# The devices of Lee et al. 2021 (HELP, table 3): known ones, and those that are new.
HELP_KNOWN = (
    "1080ti_1", "1080ti_32", "1080ti_256", "silver_4114", "silver_4210r", "samsung_a50", "pixel3", "essential_ph_1",
    "samsung_s7",
)  # fmt: skip
HELP_NEW = ("titan_rtx_256", "gold_6226", "pixel2", "raspi4", "eyeriss", "fpga")
GPUS = ("3090", "4090", "5090", "pro6000maxq")
BATCHES = ("1", "32", "64", "256")


class Devices(NamedTuple):
    """N networks and their latencies in D settings.

    Attributes:
        graphs: of the networks.
        latencies: (N, D) milliseconds, finite.
        names: of the settings.
        hardware: of each setting; settings that differ in batch size or software have the same.
        known: networks that were measured in all settings but the new one.
        ranked: networks that are ranked; others are measured.
    """

    graphs: GraphFeatures
    latencies: FloatArray
    names: tuple[str, ...]
    hardware: tuple[str, ...]
    known: IntArray
    ranked: IntArray


def nasbench201() -> Devices:
    """All cells on 27 devices; graphs as they ran, with zero operations and dead branches."""
    table = tables.load("nasbench201_latency")
    assert table.space is not None
    return _devices(compute_features(table.space.cell_graphs(table.specs, pruned=False), None), table, table.metrics)


def ofa_mbv3() -> Devices:
    """5,000 subnets on four GPUs with three batch sizes."""
    table = tables.load("ofa_mbv3_latency")
    columns = tuple(name for name in table.metrics if name.startswith("lat_"))
    return _devices(compute_features(table.graphs(), None), table, columns)


def timm() -> Devices:
    """Models of timm that are in `timm_imagenet`, too, at the size that they have there, measured in 14 settings."""
    trace_timm()
    accuracies, table = tables.load("timm_imagenet"), tables.load("timm_latency")
    place = {
        (model.partition(".")[0], size): row
        for row, (model, size) in reversed([*enumerate(zip(*_models(accuracies), strict=True))])
    }
    pairs = [(row, place[key]) for row, key in enumerate(zip(*_models(table), strict=True)) if key in place]
    rows, stored = np.asarray(pairs).T
    table = table.select(rows)
    columns = [
        name
        for name in table.metrics
        if name.startswith("ms_per_image_") and np.isfinite(table[name]).sum() >= TIMM_MEASURED
    ]
    complete = np.flatnonzero(np.isfinite([table[name] for name in columns]).all(axis=0))
    batch = GraphStore.open(TIMM).batch(stored[complete])
    found = _devices(compute_features(batch, None), table.select(complete), tuple(columns))
    # no two models are alike: what other devices took is known of all
    return found._replace(known=np.arange(len(complete)))


TABLES: dict[str, Callable[[], Devices]] = {"nasbench201": nasbench201, "ofa_mbv3": ofa_mbv3, "timm": timm}
TITLES = {"nasbench201": "NAS-Bench-201", "ofa_mbv3": "Once-for-All MobileNetV3", "timm": "timm"}


@cache
def devices(name: str) -> Devices:
    """One of `TABLES`, with what graphs are described by."""
    found = TABLES[name]()
    _ = found.graphs.paths, found.graphs.subtrees  # computed once, for all devices
    return found


def splits(name: str) -> dict[str, dict[int, list[int]]]:
    """For each protocol the new devices, and the known ones of each, as columns.

    "HELP": its devices. "all others": each device in turn. "other hardware": without settings of the same hardware.
    """
    found = devices(name)
    places = range(len(found.names))
    others = {new: [old for old in places if old != new] for new in places}
    stricter = {
        new: [old for old in known if found.hardware[old] != found.hardware[new]] for new, known in others.items()
    }
    protocols = {"all others": others, "other hardware": stricter}
    if name == "nasbench201":
        known = [found.names.index(device) for device in HELP_KNOWN]
        protocols["HELP"] = {found.names.index(device): known for device in HELP_NEW}
    return protocols


def _devices(graphs: GraphFeatures, table: tables.Table, columns: tuple[str, ...]) -> Devices:
    names = tuple(name.removeprefix("lat_").removeprefix("ms_per_image_") for name in columns)
    order = np.random.default_rng(0).permutation(len(table))
    latencies = np.column_stack([table[name] for name in columns])
    hardware = tuple(map(_hardware, names))
    return Devices(
        graphs, latencies, names, hardware, np.sort(order[:KNOWN]), np.sort(order[-min(RANKED, len(order) // 2) :])
    )


def _hardware(name: str) -> str:
    """`titan_xp` of `titan_xp_32`, `4090` of `infer-amp-nchw-pt240-cu124-rtx4090`."""
    base, _, batch = name.rpartition("_")
    if batch in BATCHES:
        return base
    parts = [part.removeprefix("rtx") for part in name.split("-")]
    known = [
        part for part in parts if part in ("3090", "4090", "5090", "pro6000maxq") or part.startswith(("i7_", "i9_"))
    ]
    return known[0] if known else name


def _models(table: tables.Table) -> tuple[list[str], list[int]]:
    """Architectures, without the tag of their weights, and image sizes."""
    return [model.partition(".")[0] for model in table.spec_strings], table["img_size"].astype(int).tolist()
