"""Tables of the scores of `examples.papers.latency_transfer`, and the text above them in RESULTS.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from benchmarks.report import Table
from cgir.typing import FloatArray
from examples.papers.latency_devices import HELP_NEW, TITLES
from examples.papers.latency_methods import ALONE, OURS, WITH_DEVICES

ABOUT = """\
Ten networks, drawn at random, are measured on a new device; all others are ranked by Spearman's rho with their
latencies. `Predictor()` without an encoder gets the logarithms of the ten, and those of the other devices as hints:
`fit(graphs, log_ms, pool=..., hints={device: (graphs, log_ms)})`. Of NAS-Bench-201 and Once-for-All the other devices
measured 900 networks, as many as HELP's meta-training has; the models of timm are all unlike each other, so what
other settings took is known of all. "Nearest device" and "mean of other devices" read the other devices' latencies of
every ranked network, which is more than *cgir* knows. 2,000 networks are ranked (233 models of timm), which are not
among those that hints or labels were drawn from, but for timm's hints. Mean over devices ± mean standard deviation
over 3 draws; devices differ much more, see below.

"All others": every device in turn is new. "Other hardware", where it has been run: without settings of the same
hardware, which differ in batch size or software alone. "HELP": the nine known and six new devices of Lee et al. 2021
(table 3, quoted in italics, from the authors' README; their ten samples are not random).

Graphs are those that were measured: cells of NAS-Bench-201 with the zero operations and dead branches that the
benchmark runs. 15,625 cells are 5,425 canonical networks, but equal networks differ in latency: on Eyeriss 27 % of the
variance lies between cells whose canonical graphs are equal. *Ridge on operators*: logarithms of the number of nodes
and of the FLOPs of each operator.

*All networks but the ranked*: ridge regression on graph features and all other devices, taught by all networks that
are not ranked: about what the noise of a measurement leaves to any predictor. Batch 1 on GPUs, and phones that
measure whole milliseconds, are noisy."""

CEILING = "all networks but the ranked"
ALL_OTHERS = "all others"
PROTOCOLS = (ALL_OTHERS, "other hardware", "HELP")
# HELP's README, "Architecture Ranking Correlation Results (Table 3)", in the order of HELP_NEW
PUBLISHED = {
    "*FLOPs, published*": (0.950, 0.826, 0.765, 0.846, 0.437, 0.900),
    "*BRP-NAS, 900 samples, published*": (0.814, 0.796, 0.666, 0.847, 0.811, 0.801),
    "*HELP, 10 samples, published*": (0.987, 0.989, 0.802, 0.890, 0.940, 0.985),
}

Row = dict[str, Any]
Scores = dict[tuple[str, str, str], dict[str, list[float]]]  # table, protocol, method -> device -> draws


def tables(rows: Sequence[Row]) -> list[Table]:
    """A summary, HELP's devices, and every device."""
    scores: Scores = {}
    for row in rows:
        devices = scores.setdefault((row["table"], row["protocol"], row["method"]), {})
        devices.setdefault(row["device"], []).append(row["spearman"])
    present = [name for name in TITLES if any(key[0] == name for key in scores)]
    return [_summary(scores, present), *_help(scores), *(_devices(scores, name) for name in present)]


def _summary(scores: Scores, present: Iterable[str]) -> Table:
    columns = [
        (name, protocol)
        for name in present
        for protocol in PROTOCOLS
        if any(key[:2] == (name, protocol) for key in scores)
    ]
    lines = [
        (method, *(_cell(_found(scores, *column, method), scores[*column, OURS]) for column in columns))
        for method in (*ALONE, *WITH_DEVICES, CEILING)
    ]
    titles = [f"{TITLES[name]}, {protocol}" for name, protocol in columns]
    return Table("Spearman's rho after ten measurements, mean over devices", ("method", *titles), tuple(lines))


def _found(scores: Scores, name: str, protocol: str, method: str) -> dict[str, list[float]]:
    """Of the protocol's devices; methods that know no other device are measured once for all protocols."""
    devices = scores[name, protocol, OURS]
    every = scores.get((name, protocol, method)) or scores[name, ALL_OTHERS, method]
    return {device: every[device] for device in devices}


def _cell(found: dict[str, list[float]], ours: dict[str, list[float]]) -> str:
    """Bold: ahead of ours by more than one deviation, the larger of both."""
    (mean, deviation), (our_mean, our_deviation) = _moments(found), _moments(ours)
    if len(next(iter(found.values()))) == 1:
        return f"{mean:.3f}"
    text = f"{mean:.3f} ± {deviation:.3f}"
    return f"**{text}**" if mean > our_mean + max(deviation, our_deviation) else text


def _moments(found: dict[str, list[float]]) -> tuple[float, float]:
    values: FloatArray = np.asarray(list(found.values()))
    return float(values.mean()), float(values.std(axis=1, ddof=1).mean()) if values.shape[1] > 1 else 0.0


def _help(scores: Scores) -> list[Table]:
    if ("nasbench201", "HELP", OURS) not in scores:
        return []
    lines = []
    for method in (*ALONE, *WITH_DEVICES):
        found = _found(scores, "nasbench201", "HELP", method)
        means = [float(np.mean(found[device])) for device in HELP_NEW]
        lines.append((method, *(f"{mean:.3f}" for mean in (*means, np.mean(means)))))
    lines += [(method, *(f"*{mean:.3f}*" for mean in (*means, np.mean(means)))) for method, means in PUBLISHED.items()]
    return [Table("NAS-Bench-201, HELP's devices", ("method", *HELP_NEW, "mean"), tuple(lines))]


def _devices(scores: Scores, name: str) -> Table:
    shown = ("log FLOPs", "ridge on operators", "nearest device", OURS, CEILING)
    parts = [scores[name, ALL_OTHERS, method] for method in shown]
    lines = [(device, *(f"{np.mean(part[device]):.3f}" for part in parts)) for device in parts[0]]
    return Table(f"{TITLES[name]}: every device, all others known", ("device", *shown), tuple(lines))
