"""`cgir predict`: with a saved predictor, or for a task without labels."""

from __future__ import annotations

import csv
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_samples import SHAPE, TRAINED, measured, ranked, ship_weights, write_nets
from encoders_samples import random_cnns

import cgir
import encoders
import frontends
import frontends.spaces
from cgir import GraphStore, TraceError
from cgir.cli.main import build_parser, main
from cgir.cli.score_table import Scored
from cgir.cli.targets import load_or_trace, read_graphs


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    return write_nets(tmp_path)


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    return ship_weights(monkeypatch)


def test_a_saved_predictor_ranks_models_and_writes_them_for_other_programs(
    models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    labels = measured("measured.csv", {"w4": 60.5, "w16": 75.25, "w32": 80.0})
    assert main(["finetune", *models[:-1], "nets.py:w32", "--labels", labels, *TRAINED, *SHAPE, "-o", "ranker"]) == 0
    fitted = [(row[-1], row[1]) for row in ranked(capsys.readouterr().out)]
    Path("models.txt").write_text("\n".join([*models, "", models[0], "--top=2"]) + "\n")
    assert main(["predict", "@models.txt", "--predictor", "ranker", *SHAPE, "-o", "scores.csv"]) == 0
    text = capsys.readouterr().out
    assert [(row[-1], row[1]) for row in ranked(text)] == fitted[:2]
    assert text.endswith("\n\nwrote scores.csv\n")
    with Path("scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["model"], f"{float(row['score']):.1f}") for row in rows] == fitted
    assert [int(row["rank"]) for row in rows] == list(range(1, 8))
    assert all(float(row["deviation"]) > 0 for row in rows)


def test_processes_trace_the_same_networks_in_the_same_order(models: list[str], tmp_path: Path) -> None:
    args = build_parser().parse_args(["predict", *SHAPE])
    random_cnns(1)[0].save("graph.json")
    GraphStore.write("store.parquet", random_cnns(2))
    sources: list[GraphStore | str] = [models[1], GraphStore.open("store.parquet"), models[0], "graph.json", models[2]]
    load = partial(load_or_trace, args=args)
    alone, beside = read_graphs(sources, load), read_graphs(sources, load, workers=2)
    assert [beside.graph(i).hash for i in range(len(beside))] == [alone.graph(i).hash for i in range(len(alone))]
    with pytest.raises(TraceError, match=r"^nets.py:none: .* has no 'none'"):
        read_graphs([*sources, "nets.py:none"], load, workers=2)


def test_a_task_needs_no_predictor(
    models: list[str], shipped: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    random_cnns(1)[0].save("graph.json")
    for more in (["--task", "imagenet_top1"], []):  # the only one need not be named
        assert main(["predict", "graph.json", models[0], *more, *SHAPE, "-o", "scores.csv"]) == 0
        first, _, *rows, empty, written, again, worth = capsys.readouterr().out.splitlines()
        assert first == "imagenet_top1 in %, without a label"
        nodes = len(cgir.load("graph.json"))
        assert [row.split() for row in rows] == [
            ["1", f"{nodes:.1f}", f"{nodes / 10:.1f}", "graph.json"],
            ["2", "7.0", "0.7", models[0]],
        ]
        assert (empty, written, again, worth) == (
            "",
            "wrote scores.csv",
            "",
            "On families left out it ranked 9 of 10 pairs alike.",
        )
    assert main(["predict"]) == 0
    text = capsys.readouterr().out
    assert "imagenet_top1 (%): accuracy on ImageNet\n  learned from timm, ofa_mbv3\n" in text
    assert text.endswith("on a family that was left out: timm 0.61, ofa_mbv3 0.90\n")


def test_the_shipped_predictor_compares_networks_of_a_family(
    models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    space = frontends.spaces.get("nasbench_macro", channels=4)
    specs = [space.sample(np.random.default_rng(seed)) for seed in range(12)]
    graphs = space.graphs(specs)
    cgir.GraphStore.write("pool", graphs, specs=map(space.format, specs))
    assert main(["predict", "pool", "--predictor", "universal", "-o", "scores.csv"]) == 0
    assert "imagenet" not in capsys.readouterr().out
    with Path("scores.csv").open(newline="") as file:
        found = {row["model"]: float(row["score"]) for row in csv.DictReader(file)}
    predictor = encoders.Predictor(encoders.load_pretrained("universal")).fit([], [], pool=graphs)
    assert [found[space.format(spec)] for spec in specs] == pytest.approx(predictor.predict(graphs).tolist())


def test_unknown_tasks_are_one_line(
    models: list[str], shipped: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", models[0], "--task", "imagenet"]) == 2
    assert re.fullmatch(r"cgir: no task 'imagenet'; there are imagenet_top1 .*\n", capsys.readouterr().err)
    shipped["tasks"]["latency"] = shipped["tasks"]["imagenet_top1"]
    assert main(["predict", models[0]]) == 2
    assert re.fullmatch(
        r"cgir: what shall be predicted\? .*, or --task with one of imagenet_top1, latency .*\n",
        capsys.readouterr().err,
    )
    with pytest.raises(SystemExit):
        main(["predict", models[0], "--task", "imagenet_top1", "--predictor", "ranker"])


def test_a_predictor_remembers_metric_direction_and_input(
    models: list[str], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Fastest first, in milliseconds, at the size of the measured networks, which nobody says again."""
    caplog.set_level("INFO")
    labels = measured("measured.csv", {"w4": 1.5, "w16": 3.25, "w32": 6.0})
    Path(labels).write_text(Path(labels).read_text().replace("accuracy", "latency_ms"))
    assert main(["finetune", *models, "--labels", labels, *TRAINED, *SHAPE, "-o", "ranker"]) == 0
    assert "latency_ms in ms, lower is better: as its name says; --unit, --higher-is-better and " in caplog.text
    fitted = ranked(capsys.readouterr().out)
    assert fitted[0][-1] == "nets.py:w4"
    assert [float(row[1]) for row in fitted] == sorted(float(row[1]) for row in fitted)
    Path("nets.py").write_text(Path("nets.py").read_text() + "\ndef w999():\n    return net(999)\n")
    assert main(["predict", *models, "nets.py:w999", "--predictor", "ranker"]) == 0
    text = capsys.readouterr().out
    assert caplog.text.count("traced with --input-shape 1,3,16,16, as the predictor's were") == 1
    assert text.splitlines()[0] == "latency_ms in ms, lower is better"
    assert [row[-1] for row in ranked(text) if row[-1] != "nets.py:w999"] == [row[-1] for row in fitted]
    assert "? nets.py:w999" in text
    assert re.search(r"\n\? unlike .*:\n  nets.py:w999: .*, known are .*\n$", text)
    assert "unlike those the predictor" not in caplog.text  # what the table says is not logged, too
    assert main(["predict", models[0], "--predictor", "ranker", "--input-shape", "1,3,32,32"]) == 0
    assert "  nets.py:w4: input 3x32x32, known is 3x16x16" in capsys.readouterr().out
    assert main(["explain", models[0], "--predictor", "ranker"]) == 0
    assert re.match(r"nets.py:w4: latency_ms [\d.]+ ms, occlusion\n", capsys.readouterr().out)


def test_scores_without_labels_only_rank(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    graphs = random_cnns(12)
    cgir.GraphStore.write(tmp_path / "pool", graphs)
    assert main(["predict", str(tmp_path / "pool"), "--predictor", "universal"]) == 0
    first, header, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("scores: without labels, or from this head, they have no unit and only rank")
    assert header.split()[:2] == ["rank", "score"]


@pytest.mark.parametrize(
    ("stds", "scores", "decimals"),
    [([3.5], [76.1], 1), ([0.042], [71.3], 3), ([0.9, 1.2, 0.95], [1, 2, 3], 2), ([35.0], [1e3], 0), ([0.0], [1.0], 4),
     ([1e-9], [1e-8], 6), (None, [1.0, 3.0], 2), (None, [5.0], 4)],
)  # fmt: skip
def test_decimals_are_those_that_are_meant(stds: list[float] | None, scores: list[float], decimals: int) -> None:
    deviations = None if stds is None else np.asarray(stds)
    assert Scored(["a"] * len(scores), np.asarray(scores), deviations).decimals == decimals
