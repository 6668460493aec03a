"""The graphs of LEMUR's networks, each traced once in a process of its own, into a store that tables read."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from tqdm import tqdm

from cgir import Graph, TraceError
from cgir.atomic_files import atomic_path
from cgir.errors import CgirError
from cgir.limits import Limits
from cgir.store import MANIFEST, GraphStore
from cgir.strict_json import parse_object
from frontends.tables.table import Table

from . import network_process
from .network_process import LIMITS, source_key, trace_network
from .wheel import open_wheel, read_source

log = logging.getLogger(__name__)

CHUNK = 100  # networks a file of the store: what is traced again after an interruption
CLASSES = {"cifar-10": 10, "cifar-100": 100}
SETTINGS = ("lr", "momentum", "dropout", "batch")


def write_graphs(
    wheel: str | PathLike[str], table: Table, path: str | PathLike[str], limits: Limits = LIMITS
) -> dict[str, str]:
    """Trace all networks of a table that are neither in the store nor known to fail; the same call resumes.

    Args:
        wheel: LEMUR's.
        table: "lemur_fixed_recipe", "lemur_networks", or some rows of them; both may use one store.
        path: folder of the store; the reasons why networks failed lie beside it, in PATH.failures.json.
        limits: what one network may take.

    Returns:
        The reason, one line, by the name of each network of the table that has no graph.

    Raises:
        FileFormatError: the wheel holds no networks, or what lies at `path` cannot be read.
        CgirError: something else is at `path`.
    """
    target = Path(path)
    settings = _settings(table)
    failures, done = _read_failures(target), _stored(target)
    names = [name for name in settings if name not in done and name not in failures]
    known: dict[tuple[str, ...], Graph] = {}
    with open_wheel(wheel) as archive, tqdm(desc="networks traced", total=len(names), unit="", disable=None) as bar:
        for start in range(0, len(names), CHUNK):
            graphs: dict[str, Graph] = {}
            for name in names[start : start + CHUNK]:
                network_process.start(limits)  # where that fails, no network does
                try:
                    graphs[name] = _trace(archive, name, settings[name], limits, known)
                except CgirError as error:
                    failures[name] = str(error)
                    log.info("no graph of %s", error)
                bar.update()
            _write_failures(target, failures)
            _append(target, graphs, table)
    return {name: failures[name] for name in settings if name in failures}


def _settings(table: Table) -> dict[str, dict[str, Any]]:
    """Hyperparameters of each graph's first row, by its name; as the table has them, of the best trial."""
    found: dict[str, dict[str, Any]] = {}
    prefix = "" if "lr" in table.metrics else "best_"
    for row, name in enumerate(table.graph_names):
        if name and name not in found:
            numbers = {key: float(table.columns[prefix + key][row]) for key in SETTINGS}
            found[name] = {key: value for key, value in numbers.items() if math.isfinite(value)}
            found[name]["transform"] = table.text_columns[f"{prefix}transform"][row]
            if "batch" in found[name]:
                found[name]["batch"] = int(found[name]["batch"])
    return found


def _trace(
    archive: ZipFile, name: str, settings: Mapping[str, Any], limits: Limits, known: dict[tuple[str, ...], Graph]
) -> Graph:
    """The graph of a network; taken from those that are known by source, data and settings, to which it is added."""
    network, _, task = name.rpartition("@")
    dataset, _, pixels = task.partition(":")
    try:
        source = read_source(archive, network)
    except TraceError as error:
        raise TraceError(f"{network}: {error}") from error
    key = (source_key(source, network, limits), task, json.dumps(settings, sort_keys=True))
    if key not in known:
        shape, classes = (3, int(pixels), int(pixels)), CLASSES[dataset]
        known[key] = trace_network(source, network, shape, classes=classes, settings=settings, limits=limits)
    return replace(known[key], name=network)


def _stored(target: Path) -> set[str]:
    return set(GraphStore.open(target).specs) if (target / MANIFEST).exists() else set()


def _append(target: Path, graphs: Mapping[str, Graph], table: Table) -> None:
    if not graphs:
        return
    families = dict(zip(table.graph_names, table.text_columns["family"], strict=True))
    columns = (graphs.values(), [families[name] for name in graphs], list(graphs))
    (GraphStore.append if (target / MANIFEST).exists() else GraphStore.write)(target, *columns)


def _failure_file(target: Path) -> Path:
    return target.with_name(f"{target.name}.failures.json")


def _read_failures(target: Path) -> dict[str, str]:
    file = _failure_file(target)
    if not file.exists():
        return {}
    return {name: str(reason) for name, reason in parse_object(file, file.read_bytes()).items()}


def _write_failures(target: Path, failures: Mapping[str, str]) -> None:
    with atomic_path(_failure_file(target)) as temporary:
        temporary.write_text(json.dumps(failures, indent=1))
