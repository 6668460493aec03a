"""`cgir finetune`: a user's own models and a few measurements become a ranking."""

from __future__ import annotations

import re
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cli_samples import SHAPE, TRAINED, measured, ranked, ship_weights, write_nets
from encoders_samples import random_cnns
from onnx_samples import exported
from torch import nn

import cgir
import encoders
import frontends
from cgir.cli.finetune import HEADS as CLI_HEADS
from cgir.cli.main import main
from encoders.predictors.predictor import HEADS


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    return write_nets(tmp_path)


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    return ship_weights(monkeypatch)


def test_models_and_a_few_measurements_become_a_ranking_of_all(
    models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    known = {"w4": 60.5, "nets.py:w8": 70.0, "w16": 75.25, "w32": 80.0}
    words = ["finetune", *models, "--labels", measured("measured.csv", known), *TRAINED, *SHAPE, "-o", "ranker"]
    assert main(words) == 0
    text = capsys.readouterr().out
    what, header, *_, last = text.splitlines()
    assert what == "accuracy, higher is better"
    assert header.split() == ["rank", "accuracy", "+-", "1", "std", "measured", "network"]
    assert last == "predictor: ranker (4 labels), report: ranker/report.html"
    rows = {row[-1]: row[1:-1] for row in ranked(text)}
    assert set(rows) == set(models)
    assert {name: float(row[2]) for name, row in rows.items() if len(row) == 3} == {
        f"nets.py:{name.split(':')[-1]}": value for name, value in known.items()
    }
    # by hand, with the library
    graphs = [frontends.trace(frontends.build(model), input_shape=(1, 3, 16, 16)) for model in models]
    predictor = encoders.Predictor(head="gp").fit(
        [graphs[0], graphs[2], graphs[4], graphs[6]], list(known.values()), pool=graphs
    )
    scores, deviations = predictor.predict(graphs, return_std=True)
    assert [float(rows[model][0]) for model in models] == pytest.approx(scores, abs=6e-2)
    assert [float(rows[model][1]) for model in models] == pytest.approx(deviations, abs=6e-2)
    assert min(deviations) > 1  # of which two digits are meant, so one decimal
    assert all(re.fullmatch(r"\d+\.\d", text) for row in rows.values() for text in row[:2])
    assert [row[-1] for row in ranked(text)][-1] == "nets.py:w4"


def test_a_metric_where_lower_is_better_turns_the_ranking_round(
    models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    labels = measured("measured.csv", {"w4": 1.0, "w8": 2.0, "w16": 3.0, "w32": 4.0})
    orders = []
    for more in ([], ["--lower-is-better"]):
        assert (
            main(
                [
                    "finetune",
                    *models,
                    "--labels",
                    labels,
                    "--metric",
                    "accuracy",
                    *TRAINED,
                    *SHAPE,
                    *more,
                    "-o",
                    "ranker",
                ]
            )
            == 0
        )
        text = capsys.readouterr().out
        orders.append([row[-1] for row in ranked(text) if len(row) == 5])  # rank, score, deviation, label, name
        assert {row[3] for row in ranked(text) if len(row) == 5} == {"1", "2", "3", "4"}  # as they were measured
    assert orders == [
        ["nets.py:w32", "nets.py:w16", "nets.py:w8", "nets.py:w4"],
        ["nets.py:w4", "nets.py:w8", "nets.py:w16", "nets.py:w32"],
    ]


def test_models_saved_graphs_and_data_sets_are_read_together(
    models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    net, image = (
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 14 * 14, 10)).eval(),
        torch.zeros(1, 3, 16, 16),
    )
    Path("exported.onnx").write_bytes(exported(net, (image,), "dynamo"))
    torch.export.save(torch.export.export(net, (image,)), "exported.pt2")
    graphs = random_cnns(5)
    graphs[0].save("graph.json")
    cgir.GraphStore.write(
        "pool", graphs[1:], specs=["a b", "c,d", "", ""], labels={"params": [g.num_params for g in graphs[1:]]}
    )
    files = ["exported.onnx", "exported.pt2", "graph.json", "pool", models[0]]
    labels = measured("measured.csv", {"exported.onnx": 4.0, "graph": 3.0, "c,d": 2.0, "pool[3]": 1.0})
    assert main(["finetune", *files, "--labels", labels, *TRAINED, *SHAPE, "-o", "ranker"]) == 0
    text = capsys.readouterr().out
    known = {line.split("  ")[-1].strip(): line.split()[3] for line in text.splitlines() if re.match(r" +\d+ ", line)}
    assert set(known) == {"exported.onnx", "exported.pt2", "graph.json", "a b", "c,d", "pool[2]", "pool[3]", models[0]}
    assert [known[name] for name in ("exported.onnx", "graph.json", "c,d", "pool[3]")] == ["4", "3", "2", "1"]
    # the same network from two files is one to the predictor
    scores = {line.split("  ")[-1].strip(): line.split()[1] for line in text.splitlines()}
    assert scores["exported.onnx"] == scores["exported.pt2"]
    # without a table, the labels that a data set brings along; the only one need not be named
    assert main(["finetune", "pool", "graph.json", *TRAINED, "-o", "ranker"]) == 0
    header, *_, last = capsys.readouterr().out.splitlines()
    assert (header, last) == ("params, lower is better", "predictor: ranker (4 labels), report: ranker/report.html")


def test_hints_are_columns_of_files_and_labels_of_data_sets(
    models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    batch = cgir.GraphBatch.of([frontends.trace(frontends.build(m), input_shape=(1, 3, 16, 16)) for m in models])
    loss, speed, known = [0.1, 0.9, 0.2, 0.4, 0.3, 0.5, 0.6], [7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0], [9.0, 8.0, 7.0, 3.0]
    lines = [f"{model},{a},{b}\n" for model, a, b in zip(models, loss, speed, strict=True)]
    Path("early.csv").write_text("model,loss,speed\n" + "".join(lines))
    labels = measured("measured.csv", dict(zip(["w4", "w8", "w16", "w32"], known, strict=True)))
    words = ["finetune", *models, "--labels", labels, "--encoder", "none", *SHAPE, "-o", "ranker"]
    found = _scores([*words, "--hint", "-loss=early.csv", "--hint", "speed=early.csv"], capsys)
    assert found == _scores(["predict", *models, "--predictor", "ranker", *SHAPE], capsys)  # it is saved with its hints
    assert found != pytest.approx(_scores(words, capsys), abs=1e-2)
    # by hand, with the library
    hints = {"loss": (batch, [-value for value in loss]), "speed": (batch, speed)}
    predictor = encoders.Predictor().fit(batch.select([0, 2, 4, 6]), known, pool=batch, hints=hints)
    assert [found[model] for model in models] == pytest.approx(predictor.predict(batch), abs=6e-2)
    # a label of a data set, where it is known
    columns = {"accuracy": [9.0, nan, 8.0, nan, 7.0, nan, 3.0], "speed": [*speed[:5], nan, nan]}
    cgir.GraphStore.write("nets", batch, specs=models, labels=columns)
    words = ["finetune", "nets", "--metric", "accuracy", "--encoder", "none", "-o", "ranker", "--hint", "speed"]
    found = _scores(words, capsys)
    some = {"speed": (batch.select(range(5)), speed[:5])}
    predictor.fit(batch.select([0, 2, 4, 6]), known, pool=batch, hints=some)
    assert [found[model] for model in models] == pytest.approx(predictor.predict(batch), abs=6e-2)


def _scores(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    assert main(words) == 0
    return {row[-1]: float(row[1]) for row in ranked(capsys.readouterr().out)}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--hint", "early"], r"--hint early: the data sets have no label of that name, they have none; a column .*"),
        (["--hint", "late=early.csv"], r"early.csv: no column 'late'; it has early, flat"),
        (["--hint", "early=none.csv"], r"none.csv: No such file or directory"),
        (["--hint", "-flat=early.csv"], r"--hint -flat=early.csv: all 2 labels equal 1.0; .*"),
        (["--hint", "early=early.csv", "--hint", "-early=early.csv"], r"--hint: early is given twice; .*"),
        (["--hint", "early=early.csv", "--head", "gp"], r"--hint: head gp takes none; leave --head out"),
        (["--ensemble", "3"], r"predictor: ensemble=3, but head 'blend' is one process; leave it out"),
    ],
)
def test_wrong_hints_are_one_line(
    models: list[str], words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    measured("measured.csv", {"w4": 1.0, "w6": 2.0})
    Path("early.csv").write_text("model,early,flat\nw4,1,1\nw6,2,1\n")
    assert main(["finetune", *models, "--labels", "measured.csv", "--encoder", "none", *SHAPE, *words, "-o", "x"]) == 2
    assert re.fullmatch("cgir: " + message + "\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["finetune", "nets.py:w4", "-o", "x"],
            r"nothing is known of these networks; give measurements with --labels FILE.csv, .*",
        ),
        (["finetune", "nets.py:w4", "--labels", "none.csv", "-o", "x"], r"none.csv: No such file or directory"),
        (
            ["finetune", "nets.py:w4", "nets.py:w6", "--labels", "one.csv", "-o", "x"],
            r"accuracy is known of 1 of the 2 networks; a ranking needs 2 or more.*",
        ),
        (
            ["finetune", "nets.py:w6", "nets.py:w8", "--labels", "one.csv", "-o", "x"],
            r"one.csv, line 2: 'w4' is none of the networks that were given; .*",
        ),
        (
            ["finetune", "nets.py:w4", "nets.py:w6", "--labels", "equal.csv", "-o", "x"],
            r"fit: all 2 labels equal 3.0; .*",
        ),
        (
            ["finetune", "nets.py:w4", "--labels", "one.csv", "--metric", "loss", "-o", "x"],
            r"one.csv: no column 'loss'; it has accuracy",
        ),
        (["finetune", "two", "-o", "x"], r"2 labels to choose from, a, b; say which with --metric, such as --metric a"),
        (["finetune", "two", "--metric", "c", "-o", "x"], r"the networks have no label 'c'; it has to be one of a, b"),
        (
            ["finetune", "two", "--metric", "a", "--encoder", "nowhere", "-o", "x"],
            r"nowhere: no such file; expected a cgir encoder",
        ),
        (
            ["finetune", "nets.py:w4", "nets.py:w6", "nets.py:w5", "--labels", "good.csv", "-o", "x"],
            r"nets.py:w5: nets has no 'w5'; .*",
        ),
        (
            ["finetune", "nets.py:w4", "nets.py:w6", "nets.py:stubborn", "--labels", "good.csv", "-o", "x"],
            r"nets.py:stubborn \(.*nets.py:30\): .*",
        ),
        (
            ["predict", "ranker", "nets.py:w4", "--predictor", "ranker"],
            r"ranker: a predictor, not a network; to use it say --predictor ranker",
        ),
        (
            ["predict", "nets.py:w4", "--predictor", "nowhere"],
            r"nowhere/predictor.safetensors: no such file; expected a cgir predictor",
        ),
        (["predict", "--predictor", "ranker"], r"which networks\? `cgir predict --help` says what can be named"),
        (["predict", "@empty.txt", "--predictor", "ranker"], r"the list of networks is empty; expected one a line"),
        (
            ["predict", "nets.py:w4", "--predictor", "ranker", "-o", "scores.txt"],
            r"scores.txt: expected a file that ends in .csv; call it scores.csv",
        ),
        (
            ["predict", "nets.py:w4", "--predictor", "ranker", "-o", "no/scores.csv"],
            r"no/scores.csv: there is no folder no",
        ),
        (["predict", "nets.py:w4", "no.parquet", "--predictor", "ranker"], r".*no.parquet.*"),
        (
            ["predict", "nets.py:w4", "empty", "--predictor", "ranker"],
            r"empty: holds no _store.json, so it is no data set .*",
        ),
    ],
)
def test_errors_are_one_line(
    models: list[str], words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("nets.py").open("a") as file:
        file.write("\nclass stubborn(nn.Module):\n    def forward(self, x):\n        return x if x.sum() > 0 else -x\n")
    measured("one.csv", {"w4": 1.0})
    measured("good.csv", {"w4": 1.0, "w6": 2.0})
    measured("equal.csv", {"w4": 3.0, "w6": 3.0})
    Path("empty").mkdir()
    Path("empty.txt").write_text("\n\n")
    graphs = random_cnns(3)
    cgir.GraphStore.write("two", graphs, labels={"a": [1.0, 2.0, 3.0], "b": [1.0, 2.0, 3.0]})
    encoders.Predictor(head="gp").fit(graphs, [1.0, 2.0, 3.0]).save("ranker")
    more = [] if words[0] == "predict" or "--encoder" in words else TRAINED
    assert main([*words, *more, *SHAPE]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch("cgir: " + message + "\n", captured.err)
    assert not Path("x").exists()


def test_finetuning_starts_from_the_shipped_encoder(models: list[str], shipped: dict[str, Any]) -> None:
    encoders.save_encoder(encoders.Encoder(seed=0), "encoder.safetensors")
    words = [
        "finetune",
        *models,
        "--labels",
        measured("measured.csv", {"w4": 1.0, "w8": 2.0, "w16": 3.0}),
        *SHAPE,
        "--head",
        "gp",
    ]
    for more, output in (
        ([], "a"),
        (["--encoder", "universal"], "b"),
        (["--encoder", "encoder.safetensors"], "c"),
        (["--encoder", "none"], "d"),
    ):
        assert main([*words, *more, "-o", output]) == 0
    same = [
        (Path(output) / "predictor.safetensors").read_bytes() == Path("a/predictor.safetensors").read_bytes()
        for output in "bcd"
    ]
    assert same == [True, True, False]


def test_the_heads_of_the_command_line_are_those_of_the_predictor() -> None:
    assert CLI_HEADS == HEADS


def test_the_report_has_what_was_held_out_and_all_networks(
    models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each point of the chart is what a predictor of the library says that learned from the other labels."""
    known = {"w4": 1.5, "w8": 2.25, "w12": 2.5, "w16": 3.25, "w32": 6.0}
    labels = measured("measured.csv", known)
    Path(labels).write_text(Path(labels).read_text().replace("accuracy", "latency_ms"))
    evil = "<script>alert(1)</script>.py"
    Path(evil).parent.mkdir(exist_ok=True)
    Path(evil).write_text(Path("nets.py").read_text())
    words = ["finetune", *models, f"{evil}:w6", "--labels", labels, *TRAINED, *SHAPE, "-o", "ranker"]
    assert main(words) == 0
    capsys.readouterr()
    text = Path("ranker/report.html").read_text()
    for drawing in re.findall(r"<svg.*?</svg>", text, re.DOTALL):  # no error bar is cut off at one end
        dots = {left: float(top) for left, top in re.findall(r'class="dot" d="M([\d.]+),([\d.]+)h0"', drawing)}
        bars = re.findall(r"M([\d.]+),([\d.]+)V([\d.]+)", *re.findall(r'class="error" d="([^"]+)"', drawing))
        assert len(bars) == len(dots)
        assert all(abs(float(low) + float(high) - 2 * dots[left]) < 0.3 for left, low, high in bars)
    assert "<script" not in text
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert "Ranking by latency_ms</h1>" in text
    graphs = [frontends.trace(frontends.build(model), input_shape=(1, 3, 16, 16)) for model in models]
    rows = [0, 2, 3, 4, 6]
    y = np.asarray(list(known.values()))
    pool = [*graphs, graphs[1]]
    for index, row in enumerate(rows):
        others = [other for other in rows if other != row]
        predictor = encoders.Predictor(head="gp")
        predictor.fit([graphs[other] for other in others], np.delete(y, index), pool=pool, metric="latency_ms")
        expected = float(predictor.predict(graphs[row])[0])
        assert f"{models[row]}\nmeasured {y[index]:.5g}, expected {expected:.5g}" in text
    for model in models:
        assert f"<td class=t>{model}</td>" in text
    assert "cgir predict @models.txt --predictor ranker" in text
