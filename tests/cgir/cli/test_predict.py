"""`cgir predict`: with a saved predictor, or for a task without labels."""

from __future__ import annotations

import csv
import re
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
from cgir.cli.main import main


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
