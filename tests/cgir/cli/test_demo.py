"""`cgir demo` from end to end."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import cgir
import encoders
from cgir.cli.demo import DemoConfig, run_demo


def test_the_demo_runs_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = encoders.TrainConfig(epochs=5, source_steps=5)
    run_demo(tmp_path, config=DemoConfig(draws=2, extra_graphs=20, pretraining_steps=3, train=train, rehearsed=2))
    printed = capsys.readouterr().out
    for word in ("resnet50", "nasbench201", "cgir", "heads on the encoder", "log FLOPs", "from scratch"):
        assert word in printed
    ranks = re.findall(r" 2 networks in +\S+ s: Spearman with 0 labels (\S+) before, (\S+) after", printed)
    assert len(ranks) == 3
    assert all(before != after for before, after in ranks)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 2  # the ranking, and a network
    assert (
        printed.partition("What next:\n")[2].count("  cgir ") == page.partition("What next</h2>")[2].count("cgir ") == 5
    )
    assert f"  cgir predict {tmp_path / 'nasbench201'}.parquet --predictor {tmp_path / 'predictor'} " in printed
    store = cgir.GraphStore.open(tmp_path / "nasbench101.parquet")
    assert len(store) == 250
    assert encoders.Predictor.load(tmp_path / "predictor").predict(store.batch([0, 1])).shape == (2,)
