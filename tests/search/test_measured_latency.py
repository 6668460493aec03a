"""Measured latency: what is read off the clocks, turns, ONNX Runtime's own clock beside ours, and errors."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import search
from cgir import CgirError
from frontends import spaces
from search import Latency, latencies, latency, measured_latency
from search.onnx_export import export

MS = 1_000_000


class Clock:
    """Two clocks that move as passes take their time, and a record of which network ran."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.cpu = 0
        self.ran: list[str] = []
        monkeypatch.setattr(measured_latency, "perf_counter_ns", lambda: self.now)
        monkeypatch.setattr(measured_latency, "process_time_ns", lambda: self.cpu)
        monkeypatch.setattr(measured_latency, "_prepared", lambda model, *_: model)

    def network(self, name: str, times: Iterator[float], share: float = 1.0) -> Any:
        def run() -> None:
            milliseconds = next(times)
            self.ran.append(name)
            self.now += round(milliseconds * MS)
            self.cpu += round(share * milliseconds * MS)

        return run


def blocks(count: int, width: int = 32) -> nn.Module:
    return nn.Sequential(*(nn.Conv2d(width, width, 3, padding=1) for _ in range(count)))


def test_median_and_percentiles_are_numpys(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, times = Clock(monkeypatch), np.random.default_rng(0).uniform(1, 1.4, 60)
    found = latencies([clock.network("a", iter(times), share=0.9)], runs=23)[0]
    # five rounds, each after a run that does not count
    kept = np.concatenate([times[1:6], times[7:12], times[13:18], times[19:23], times[24:28]])
    assert found.runs == len(kept) == 23
    assert [found.p10_ms, found.median_ms, found.p90_ms] == pytest.approx(np.percentile(kept, (10, 50, 90)), abs=1e-5)
    assert found.cpu_ms == pytest.approx(0.9 * np.median(kept), abs=1e-5)


def test_networks_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    forever = iter(lambda: 1.0, None)
    latencies((clock.network(name, forever) for name in "ab"), runs=10)
    assert "".join(clock.ran) == "aaabbb" * 5  # one run that does not count and two that do, in each of five rounds
    clock.ran.clear()
    latencies([clock.network("a", forever)], runs=2)
    assert "".join(clock.ran) == "aaaa"


def test_warm_up_ends_where_a_group_is_not_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    measured_latency._warm_up(clock.network("a", iter([9, 9, 9, 5, 5, 5, 4.9, 4.9, 4.9, 1, 1, 1])))
    assert len(clock.ran) == 9
    clock.ran.clear()
    measured_latency._warm_up(clock.network("a", iter(0.9 ** np.arange(100))))  # ever faster
    assert len(clock.ran) == 60


@pytest.mark.parametrize(
    ("times", "share", "busy"),
    [([1.0] * 5, 1.0, False), ([1.0, 1.0, 1.0, 1.0, 3.0], 1.0, True), ([2.0] * 5, 0.5, True)],
    ids=["idle", "some runs waited", "every run waited"],
)
def test_a_busy_machine_is_told(
    times: list[float], share: float, busy: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock(monkeypatch)
    runs = iter([value for value in times for _ in range(2)])
    with caplog.at_level(logging.WARNING):
        latencies([clock.network("a", runs, share)], runs=5)
    assert [record.getMessage()[:29] for record in caplog.records] == ["latency: the machine is busy;"] * busy


def test_a_latency_reads_as_a_sentence() -> None:
    one = Latency(3.912, 3.8849, 4.021, 3.9, 50, 1, "onnxruntime 1.31.1 CPUExecutionProvider")
    assert str(one) == (
        "3.91 ms (median of 50 runs; 10th to 90th percentile 3.88 to 4.02 ms; processor time 3.90 ms; 1 thread, "
        "onnxruntime 1.31.1 CPUExecutionProvider)"
    )
    assert [measured_latency.format_ms(value) for value in (0.05123, 99.94, 99.96, 1234.5)] == [
        "0.0512", "99.9", "100", "1,234",
    ]  # fmt: skip


def test_ten_times_the_work_takes_longer() -> None:
    """16 times the multiply-adds in layers of the same kind; processor time, which other programs disturb least."""
    small, large = latencies(
        [blocks(4, 16), blocks(4, 64)], inputs=[torch.randn(1, 16, 32, 32), torch.randn(1, 64, 32, 32)]
    )
    assert 3 < large.cpu_ms / small.cpu_ms < 50
    assert small.p10_ms <= small.median_ms <= small.p90_ms
    assert small.runtime == f"onnxruntime {onnxruntime.__version__} CPUExecutionProvider"


@pytest.mark.slow
def test_twice_the_blocks_take_twice_as_long() -> None:
    once, twice = latencies([blocks(6), blocks(12)], (1, 32, 56, 56), runs=100)
    assert 1.6 < twice.cpu_ms / once.cpu_ms < 2.5


@pytest.mark.slow
def test_onnx_runtimes_own_profile_agrees(tmp_path: Path) -> None:
    """Its `model_run` durations, on the clock: tenth percentiles, which other programs disturb less than medians."""
    net, shape = blocks(6), (1, 32, 56, 56)
    model = export(net, input_shape=shape)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.enable_profiling = 1, True
    options.profile_file_prefix = str(tmp_path / "profile")
    session = onnxruntime.InferenceSession(model.model, options, providers=["CPUExecutionProvider"])
    found = latency(net, shape, runs=100)
    for _ in range(100):
        session.run(None, model.feeds)
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    theirs = [event["dur"] / 1000 for event in events if event["name"] == "model_run"]
    assert len(theirs) == 100
    assert 0.6 < found.p10_ms / np.percentile(theirs, 10) < 1.6


def test_forms_of_models(tmp_path: Path) -> None:
    net = blocks(1, 4)
    data = export(net, input_shape=(1, 4, 8, 8)).model
    assert isinstance(data, bytes)
    (tmp_path / "net.onnx").write_bytes(data)
    for model in (data, str(tmp_path / "net.onnx"), tmp_path / "net.onnx"):
        assert latency(model, runs=3).runs == 3
    assert latency(net, inputs=torch.randn(2, 4, 8, 8), runs=3, threads=2).threads == 2


def test_latency_is_an_answer_of_a_search() -> None:
    space = spaces.get("nasbench_macro", stages=(2, 2), channels=4, head=8)

    def oracle(spec: Any) -> dict[str, float]:
        found = latency(space.module(spec), inputs=space.inputs(spec), runs=3)
        return {"accuracy": float(spec.count("0")), "latency_ms": found.median_ms}

    history = search.random_search(
        space, None, oracle, 3, objectives=["accuracy", "-latency_ms"], limits="latency_ms<1000", progress=False
    )
    assert history.errors == [None] * 3
    assert (history.objective_values[:, 1] > 0).all()
    assert 1 <= len(history.front()) <= 3


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (nn.ReLU(), {}, r"ReLU does not know its input; say input_shape=\(1, 3, 224, 224\) or inputs="),
        (nn.ReLU(), {"input_shape": (1,), "inputs": torch.ones(1)}, "found inputs and input_shape; give one of them"),
        (nn.ReLU(), {"input_shape": (1,), "runs": 0}, "runs=0; expected a whole number of 1 or more"),
        (nn.ReLU(), {"input_shape": (1,), "threads": 1.5}, "threads=1.5; expected a whole number"),
        (3, {}, "cannot trace a int; supported are"),
        ("nowhere.onnx", {}, "nowhere.onnx: there is no such file"),
        ("net.keras", {}, "net.keras is a TensorFlow or Keras model, and ONNX Runtime measures ONNX; write one with"),
        ("saved", {}, "saved is a TensorFlow or Keras model"),
        ("net.pt2", {}, "net.pt2 is an exported program; give the torch.nn.Module"),
        ("damaged.onnx", {}, "damaged.onnx: no ONNX model, or a damaged one"),
    ],
)
def test_errors_are_one_line(
    given: Any, options: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "saved").mkdir()
    for name in ("net.keras", "net.pt2", "saved/saved_model.pb"):
        (tmp_path / name).write_bytes(b"no model")
    (tmp_path / "damaged.onnx").write_bytes(b"no model")
    with pytest.raises(CgirError, match=message) as caught:
        latency(given, **options)
    assert "\n" not in str(caught.value)


def test_what_the_runtime_refuses_is_one_line() -> None:
    data = export(blocks(1, 4), input_shape=(1, 4, 8, 8)).model
    with pytest.raises(
        CgirError, match=r"ONNX Runtime cannot run the ONNX model \(InvalidArgument: .*dimensions"
    ) as found:
        latency(data, (2, 4, 8, 8))
    assert "\n" not in str(found.value)


def test_inputs_are_as_many_as_models() -> None:
    with pytest.raises(CgirError, match="inputs of 1 networks for 2 models; expected as many"):
        latencies([nn.ReLU(), nn.ReLU()], inputs=[torch.ones(1)])
