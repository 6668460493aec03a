"""Latencies on new devices: splits, rivals against scikit-learn and loops, files that are measured once, tables."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from benchmarks.report import Table
from cgir.cost import kind_flops
from encoders.features.graph_features import compute_features
from examples.papers import latency_devices, latency_transfer
from examples.papers.latency_devices import HELP_KNOWN, HELP_NEW, Devices, devices, splits
from examples.papers.latency_methods import (
    ALONE,
    NO_HINTS,
    OURS,
    PENALTIES,
    WITH_DEVICES,
    Problem,
    hints,
    nearest_device,
    operator_counts,
    ridge,
)
from examples.papers.latency_table import CEILING, PUBLISHED, tables
from frontends import spaces


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Devices:
    """120 cells on five devices: two batch sizes of one, and three whose time is another sum of operations."""
    rng, space = np.random.default_rng(0), spaces.get("nasbench201")
    specs = [space.sample(rng) for _ in range(120)]
    counts = np.asarray([[spec.count(op) for op in sorted({op for spec in specs for op in spec})] for spec in specs])
    costs = rng.uniform(0.1, 3.0, (4, counts.shape[1]))
    costs = np.stack([costs[0], costs[0] * 1.1, *costs[1:]])
    latencies = (1 + counts @ costs.T) * rng.lognormal(0, 0.02, (120, 5))
    names = ("gpu_1", "gpu_32", "phone", "board", "fpga")
    hardware = ("gpu", "gpu", "phone", "board", "fpga")
    graphs = compute_features(space.cell_graphs(specs, pruned=False), None)
    found = Devices(graphs, latencies, names, hardware, np.arange(50), np.arange(70, 120))
    devices.cache_clear()
    monkeypatch.setattr(latency_devices, "TABLES", {"ofa_mbv3": lambda: found})
    yield found
    devices.cache_clear()


def test_splits_leave_out_the_new_device_and_its_other_settings(small: Devices) -> None:
    found = splits("ofa_mbv3")
    assert found["all others"] == {new: [old for old in range(5) if old != new] for new in range(5)}
    assert found["other hardware"] == found["all others"] | {0: [2, 3, 4], 1: [2, 3, 4]}


def test_devices_of_the_tables() -> None:
    if not os.environ.get("CGIR_DATA"):
        pytest.skip("needs the label tables: set CGIR_DATA")
    devices.cache_clear()
    found = latency_devices.nasbench201()
    assert {*HELP_KNOWN, *HELP_NEW} < set(found.names)
    assert not set(HELP_KNOWN) & set(HELP_NEW)
    assert {name for name, kind in zip(found.names, found.hardware, strict=True) if kind == "titanx"} == {
        "titanx_1",
        "titanx_32",
        "titanx_256",
    }
    assert (len(found.known), len(found.ranked), len(found.hardware)) == (900, 2_000, 27)
    assert not set(found.known) & set(found.ranked)
    assert np.diff(found.graphs.graphs.batch.ptr).tolist() == [8] * 15_625


def test_settings_of_timm_are_grouped_by_what_computes() -> None:
    names = ("infer-amp-nchw-pt113-cu117-rtx3090", "infer-amp-nchw-pt291-cu128-4090-dynamo", "lat", "titan_xp_64")
    assert [latency_devices._hardware(name) for name in names] == ["3090", "4090", "lat", "titan_xp"]
    assert latency_devices._hardware("infer-fp32-nchw-pt240-cpu-i7_12700h-dynamo") == "i7_12700h"


def test_ridge_is_scikit_learns_with_the_penalty_that_leaves_out_best() -> None:
    rng = np.random.default_rng(1)
    x, others = rng.normal(size=(12, 30)), rng.normal(size=(5, 30))
    y = x[:, 0] + 0.3 * rng.normal(size=12)
    centred = x - x.mean(axis=0)
    alphas = [penalty * (centred**2).sum() / 12 for penalty in PENALTIES]

    def error(alpha: float) -> float:
        kept = [np.arange(12) != row for row in range(12)]
        # the rows' own mean and alpha stay, as in the closed form
        left = [Ridge(alpha).fit(x[rows], y[rows]).predict(x[~rows]) - y[~rows] for rows in kept]
        return float(np.mean(np.square(left)))

    best = min(alphas, key=error)
    np.testing.assert_allclose(ridge(x, y, others), Ridge(best).fit(x, y).predict(others), atol=1e-9)


def test_operators_are_counted_with_their_flops(small: Devices) -> None:
    batch = small.graphs.graphs.batch
    found = operator_counts(batch)
    names = sorted({kind.op for kind in batch.kinds})
    for place in (0, 41):
        nodes = batch.graph(place).nodes
        for column, name in enumerate(names):
            same = [node for node in nodes if node.op == name]
            assert np.isclose(found[place, column], np.log1p(len(same)))
            assert np.isclose(found[place, len(names) + column], np.log1p(sum(kind_flops(node.kind) for node in same)))


def test_the_nearest_device_is_the_other_batch_size(small: Devices) -> None:
    old = [1, 2, 3, 4]
    problem = Problem(small, 0, old, hints(small, old), np.arange(50, 60), small.ranked, 0)
    np.testing.assert_array_equal(nearest_device(problem), small.latencies[70:, 1])


def test_a_device_is_measured_once_and_shown(
    small: Devices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    published: list[list[Table]] = []
    monkeypatch.setattr(latency_transfer, "publish", lambda *arguments: published.append(arguments[-1]))
    monkeypatch.setattr(latency_transfer, "DRAWS", 2)
    job = ("ofa_mbv3", "all others", 0)
    latency_transfer.run(job, tmp_path)
    [path] = tmp_path.glob("*.json")
    rows = json.loads(path.read_text())
    assert [row["method"] for row in rows].count(OURS) == 2
    assert {row["method"] for row in rows} == {*ALONE, *WITH_DEVICES, CEILING}
    means = {name: np.mean([row["spearman"] for row in rows if row["method"] == name]) for name in (OURS, NO_HINTS)}
    assert means[OURS] > 0.97  # the other batch size says nearly all
    monkeypatch.setattr(latency_transfer, "jobs", lambda names: [job])
    before = path.stat().st_mtime_ns
    monkeypatch.setattr("sys.argv", ["latency_transfer", "--folder", str(tmp_path), "--tables", "ofa_mbv3"])
    latency_transfer.main()
    assert path.stat().st_mtime_ns == before
    summary, per_device = published[0]
    assert summary.columns == ("method", "Once-for-All MobileNetV3, all others")
    assert [line[0] for line in summary.rows] == [*ALONE, *WITH_DEVICES, CEILING]
    assert per_device.rows[0][0] == "gpu_1"


def test_rows_that_are_ahead_of_ours_by_a_deviation_are_bold() -> None:
    scores = {"log FLOPs": (0.5, 0.6), "nearest device": (0.8, 0.82), CEILING: (0.99,)}
    rows = [
        {"table": "timm", "protocol": "all others", "device": "a", "method": method, "draw": draw, "spearman": score}
        for method in (*ALONE, *WITH_DEVICES, CEILING)
        for draw, score in enumerate(scores.get(method, (0.7, 0.71)))
    ]
    cells = dict(tables(rows)[0].rows)
    assert cells["log FLOPs"] == "0.550 ± 0.071"
    assert cells["nearest device"] == "**0.810 ± 0.014**"
    assert cells[CEILING] == "0.990"


def test_published_means_are_those_of_the_readme() -> None:
    means = [round(float(np.mean(values)), 3) for values in PUBLISHED.values()]
    assert means == [0.787, 0.789, 0.932]
