"""`cgir search` as a user meets it: three kinds of oracles, logs that go on, one line for an error."""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import search
from cgir.cli import options, oracles
from cgir.cli import search as command
from cgir.cli.main import main
from encoders import Metric, Predictor
from encoders.predictors.pretrained import card
from frontends import spaces, tables
from search.acquisition import ACQUISITIONS
from search.ask_tell import Search

RANDOM = ["--method", "random"]
DIGITS = ["nasbench201", "--table", "digits", *RANDOM]
ORACLE = """
import math, signal, time

def convolutions(spec):
    return float(sum("conv" in op for op in spec))

def both(spec):
    return {"accuracy": convolutions(spec), "latency_ms": 1.0 + sum(op == "nor_conv_3x3" for op in spec)}

def broken(spec):
    raise RuntimeError("no " + "GPU")

def stuck(spec):
    return float("nan") if spec[0] == "none" else time.sleep(60)

asked = []

def interrupted(spec):
    asked.append(spec)
    if len(asked) == 3:
        signal.raise_signal(signal.SIGINT)
    return convolutions(spec)

number = 3
"""
TRAIN = """
import json, sys
text = sys.argv[1]
if text.startswith("|none"):
    print("out of luck", file=sys.stderr)
    sys.exit(3)
print("epoch 1 of 1")
print(json.dumps({"accuracy": text.count("conv"), "text": text}))
print()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with the user's files."""
    monkeypatch.chdir(tmp_path)
    Path("measure.py").write_text(ORACLE)
    Path("train.py").write_text(TRAIN)
    monkeypatch.delitem(sys.modules, "measure", raising=False)
    return tmp_path


def convolutions(spec: Any) -> float:
    return float(sum("conv" in op for op in spec))


def found(name: str = "nasbench201-search.jsonl") -> search.History:
    return search.History.load(name)


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The line that a command ends with."""
    assert main(["search", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("cgir: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_help_names_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert tuple(ACQUISITIONS) == command.ACQUISITIONS
    assert tuple(card()["labels"]) == command.FAMILIES
    with pytest.raises(SystemExit, match="0"):
        main(["search", "--help"])
    text = capsys.readouterr().out
    assert all(f"  {name} " in text and line in text for name, line in command.METHODS.items())
    assert all(name in text for name in command.FAMILIES)
    assert max(map(len, text.partition("who answers:\n")[2].splitlines())) <= 120


def test_a_table_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", *DIGITS, "--queries", "12"]) == 0
    table, history = tables.load("digits").family("nasbench201"), found()
    accuracy = dict(zip(table.spec_strings, table["accuracy"], strict=True))
    assert len(set(history.spec_strings)) == len(history) == 12
    assert history.values.tolist() == [accuracy[text] for text in history.spec_strings]
    row = int(np.argmax(history.values))
    out, text = capsys.readouterr().out, history.spec_strings[row]
    assert f"best of 12 queries: {text}\naccuracy {history.values[row]:.6g} in query {row + 1}" in out
    assert "log: nasbench201-search.jsonl; the same command goes on" in out
    names: dict[str, Any] = {}
    exec("\n".join(re.findall(r"^  (.*)$", out, re.MULTILINE)), names)
    space = table.space
    assert space is not None
    assert names["space"] == space
    built, expected = (module.state_dict() for module in (names["module"], space.module(history.specs[row])))
    assert {key: value.shape for key, value in built.items()} == {key: value.shape for key, value in expected.items()}


def test_a_metric_is_the_accuracy_and_others_are_columns() -> None:
    words = ["--metric", "acc_seed1", "--objective", "accuracy", "--objective", "-acc_seed2", "--objective", "-flops"]
    assert main(["search", *DIGITS, *words, "--limit", "params<5k", "--queries", "5"]) == 0
    table, history = tables.load("digits").family("nasbench201"), found()
    rows = [table.spec_strings.index(text) for text in history.spec_strings]
    assert history.column("accuracy").tolist() == table["acc_seed1"][rows].tolist()
    assert history.column("acc_seed2").tolist() == table["acc_seed2"][rows].tolist()
    assert max(history.column("params")) < 5000
    assert [item.text for item in history.objectives] == ["accuracy", "-acc_seed2", "-flops"]


def test_a_small_part_of_a_large_space() -> None:
    """Networks of the table alone are drawn, and mutations go there."""
    space, rng = spaces.get("ofa_mbv3"), np.random.default_rng(0)
    texts = tuple(space.format(space.sample(rng)) for _ in range(30))
    values = np.asarray([*range(29), np.nan, 50.0])  # one without a value, one twice
    tables.write_table(tables.Table("few", (*texts, texts[0]), {"accuracy": values}, space), Path("few.parquet"))
    words = ["--table", "few.parquet", "--predictor", "none", "--queries", "20"]
    assert main(["search", "ofa_mbv3", *words]) == 0
    history = found("ofa_mbv3-search.jsonl")
    assert set(history.spec_strings) < set(texts[:29])
    expected = {text: float(row) for row, text in enumerate(texts[:29])} | {texts[0]: 25.0}
    assert history.values.tolist() == [expected[text] for text in history.spec_strings]


def test_a_table_that_has_the_space() -> None:
    """Then its own mutations are made."""
    space = spaces.get("nasbench_macro", stages=(2, 2), channels=4, head=8)
    texts = tuple(map(space.format, space.enumerate()))
    table = tables.Table("all", texts, {"accuracy": np.arange(float(len(texts)))}, space)
    tables.write_table(table, Path("all.parquet"))
    assert oracles.table_question("nasbench_macro", "all.parquet", None, ["accuracy"]).space == space
    assert main(["search", "nasbench_macro", "--table", "all.parquet", "--method", "local", "--queries", "30"]) == 0
    oracle = dict(zip(table.specs, table["accuracy"], strict=True)).__getitem__
    expected = search.local_search(space, oracle, 30, progress=False)
    assert found("nasbench_macro-search.jsonl").spec_strings == expected.spec_strings


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("depths=1,2,3", (1, 2, 3)),
        ("expansions=1,1.5,2", (1, 1.5, 2)),
        ("width=1.2", 1.2),
        ("channels=4", 4),
        ("task=jigsaw", "jigsaw"),
        ("channels=\u0664", "\u0664"),
        ("channels=1.", "1."),
    ],
)
def test_parts_of_skeletons_are_numbers_or_words(text: str, value: object) -> None:
    name, found = options.parse_skeleton(text)
    assert (name, found) == (text.partition("=")[0], value)
    assert repr(found) == repr(value)


def test_a_skeleton_is_that_of_the_networks_that_are_trained(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["nasbench201", "--oracle", "measure.py:convolutions", "--method", "random", "--queries", "4"]
    small = ["--skeleton", "channels=4", "--skeleton", "cells=1", "--skeleton", "image=3,8,8"]
    assert main(["search", *words, *small, "--objective", "accuracy", "--objective", "-flops"]) == 0
    history, space = found(), spaces.get("nasbench201", channels=4, cells=1, image=(3, 8, 8))
    assert history.space == space
    assert history.column("flops").tolist() == [space.graph(spec).flops for spec in history.specs]
    assert "channels=4" in capsys.readouterr().out  # how to build it
    assert "its skeleton has no wide" in refused([*words, "--skeleton", "wide=4"], capsys)
    assert "a label table has its own" in refused([*DIGITS, *small], capsys)


def test_a_function_answers_as_in_python() -> None:
    assert (
        main(["search", "nasbench201", "--oracle", "measure.py:convolutions", *RANDOM, "--queries", "9", "--seed", "3"])
        == 0
    )
    expected = search.random_search(spaces.get("nasbench201"), None, convolutions, 9, 3, progress=False)
    assert found().spec_strings == expected.spec_strings
    assert found().values.tolist() == expected.values.tolist()


@pytest.mark.slow
def test_other_processes_import_the_function() -> None:
    words = ["nasbench201", "--oracle", "measure.py:both", *RANDOM, "--queries", "6", "--objective", "accuracy"]
    words += ["--objective", "-latency_ms", "--workers", "2", "--memory", "4G"]
    assert main(["search", *words]) == 0
    history = found()
    assert history.values.tolist() == [convolutions(spec) for spec in history.specs]
    assert history.errors == [None] * 6


def test_a_program_answers(capsys: pytest.CaptureFixture[str]) -> None:
    program = f"{sys.executable} train.py {{spec}}"
    assert main(["search", "nasbench201", "--command", program, *RANDOM, "--queries", "12"]) == 0
    history = found()
    failed = [text.startswith("|none") for text in history.spec_strings]
    assert any(failed)
    assert f"best of 12 queries, {sum(failed)} failed" in capsys.readouterr().out
    for text, value, error in zip(history.spec_strings, history.values, history.errors, strict=True):
        if text.startswith("|none"):
            assert error is not None
            assert error.endswith("exit status 3: out of luck")
        else:
            assert (value, error) == (text.count("conv"), None)


@pytest.mark.parametrize("line", ["71.5", " 71.5 ", "7.15e1"])
def test_numbers_that_programs_print(line: str) -> None:
    assert oracles.parse_answer(line) == 71.5


@pytest.mark.parametrize("line", ["", "accuracy 71.5", "[71.5]", '"71.5"', "{"])
def test_lines_that_are_no_answer(line: str) -> None:
    with pytest.raises(ValueError, match=r"the last line printed is .*expected a number, or a JSON object"):
        oracles.parse_answer(line)


def test_the_same_command_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["nasbench201", "--table", "digits", "--predictor", "none"]
    assert main(["search", *words, "--queries", "14", "--log", "whole.jsonl"]) == 0
    for queries in ("10", "14"):
        assert main(["search", *words, "--queries", queries, "--log", "parts.jsonl"]) == 0
    assert found("parts.jsonl").spec_strings == found("whole.jsonl").spec_strings
    before = Path("parts.jsonl").read_bytes()
    capsys.readouterr()
    assert main(["search", *words, "--queries", "14", "--log", "parts.jsonl"]) == 0
    assert Path("parts.jsonl").read_bytes() == before
    assert "best of 14 queries" in capsys.readouterr().out


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A process that was started in the background ignores the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interruption_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["search", "nasbench201", "--oracle", "measure.py:interrupted", *RANDOM, "--queries", "6"]
    assert main(words) == 130
    captured = capsys.readouterr()
    assert (
        "all answers so far are in nasbench201-search.jsonl; the same call or command goes on from there"
        in captured.err
    )
    assert np.isfinite(found().values).sum() == 2
    Path("measure.py").write_text(ORACLE.replace("== 3", "== 99"))
    assert main(words) == 0
    expected = search.random_search(spaces.get("nasbench201"), None, convolutions, 6, progress=False)
    assert found().spec_strings == expected.spec_strings


def test_the_front_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["nasbench201", "--oracle", "measure.py:both", *RANDOM, "--queries", "15"]
    assert main(["search", *words, "--objective", "accuracy", "--objective", "-latency_ms"]) == 0
    history, out = found(), capsys.readouterr().out
    points = list(zip(history.values, history.column("latency_ms"), strict=True))
    front = {p for p in points if not any(q != p and q[0] >= p[0] and q[1] <= p[1] for q in points)}
    shown = re.findall(r"^  accuracy (\S+), latency_ms (\S+)  \|", out, re.MULTILINE)
    assert [tuple(map(float, pair)) for pair in shown] == sorted(front, reverse=True)
    assert f"best trade-offs of accuracy and -latency_ms: {len(front)}" in out


def test_a_column_whose_name_says_so_is_minimised(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    table = tables.load("digits").family("nasbench201")
    columns = {"val_loss": 1 - table["accuracy"], "energy": table["accuracy"]}
    tables.write_table(tables.Table("other", table.spec_strings, columns, table.space), Path("other.parquet"))
    words = ["search", "nasbench201", "--table", "other.parquet", "--metric", "val_loss", *RANDOM, "--queries", "9"]
    caplog.set_level("INFO")
    assert main(words) == 0
    assert "searching for a low val_loss; --objective says otherwise" in caplog.text
    history = found()
    assert history.objectives[0].text == "-val_loss"
    assert history.best_value == min(history.values)
    assert f"val_loss {min(history.values):.6g} in query" in capsys.readouterr().out
    assert main([*words, "--objective", "energy", "--log", "more.jsonl"]) == 0
    assert "--objective energy: is made large; where lower is better say -energy" in caplog.text


def test_a_predictor_of_latencies_is_told_and_asked_in_milliseconds(caplog: pytest.LogCaptureFixture) -> None:
    """Of its own it knows that lower is better; the guide's choice is the one of a predictor with turned labels."""
    space = spaces.get("nasbench201")
    specs = [space.sample(np.random.default_rng(seed)) for seed in range(30)]
    graphs, values = space.graphs(specs), np.asarray([sum("3x3" in op for op in spec) + 1.0 for spec in specs])
    Predictor(head="gp").fit(graphs, values, metric=Metric("latency_ms", "ms", True)).save("fast")
    Predictor(head="gp").fit(graphs, -values).save("turned")
    caplog.set_level("INFO")
    words = ["search", "nasbench201", "--oracle", "measure.py:both", "--queries", "12"]
    assert main([*words, "--predictor", "fast", "--log", "a.jsonl"]) == 0
    assert "searching for a low latency_ms" in caplog.text
    assert main([*words, "--predictor", "turned", "--objective", "-latency_ms", "--log", "b.jsonl"]) == 0
    some, other = found("a.jsonl"), found("b.jsonl")
    assert some.spec_strings == other.spec_strings
    np.testing.assert_allclose(some.predicted, other.predicted)
    assert main([*words, "--predictor", "fast", "--objective", "latency_ms", "--log", "c.jsonl"]) == 0
    assert "--objective latency_ms: is made large" in caplog.text


def test_a_printed_history_names_the_best(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["nasbench201", "--oracle", "measure.py:both", *RANDOM, "--queries", "8"]
    assert main(["search", *words, "--objective", "accuracy", "--objective", "-latency_ms"]) == 0
    history = found()
    first, *best, last = str(history).splitlines()
    assert first == "random search in nasbench201: 8 queries"
    row = history.top(1)[0]
    accuracy, latency = history.objective_values[row]
    text = f"accuracy {accuracy:g}, latency_ms {latency:g} in query {row + 1}: {history.spec_strings[row]:.90}"
    assert best[0] == f"  1. {text}"
    assert (len(best), last) == (3, f"  {len(history.front())} networks are the best trade-offs")


def test_large_costs_are_printed_in_millions(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["nasbench201", "--oracle", "measure.py:both", *RANDOM, "--queries", "5"]
    assert main(["search", *words, "--objective", "accuracy", "--objective", "-flops"]) == 0
    history, out = found(), capsys.readouterr().out
    shown = [float(text) for text in re.findall(r"^  accuracy \S+, flops (\S+)M  \|", out, re.MULTILINE)]
    front = sorted(history.front(), key=lambda row: -history.values[row])
    assert shown == pytest.approx([history.column("flops")[row] / 1e6 for row in front], rel=1e-3)


def test_nothing_within_the_limits(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", *DIGITS, "--limit", "accuracy>2", "--queries", "3"]) == 0
    assert "3 queries; none has a value within the limits" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nasbench2", "--oracle", "measure.py:both"], "nasbench2"),
        (["darts", "--table", "digits"], "has no family 'darts'; it has nasbench101"),
        (["darts", "--table", "other.parquet"], "a table of nasbench201; expected one of darts"),
        (["darts", "--table", "none.parquet"], "none.parquet"),
        (["nasbench201", "--table", "digit"], "no label table is called 'digit'"),
        ([*DIGITS, "--metric", "acc"], "has no metric 'acc'; it has acc_seed0"),
        (["nasbench201", "--table", "other.parquet"], "say which column is the accuracy with --metric"),
        (["nasbench201", "--table", "other.parquet", "--metric", "empty"], "no network has a value of empty"),
        ([*DIGITS, "--objective", "-latency_ms"], "has no metric 'latency_ms'"),
        ([*DIGITS, "--objective", "9"], "objectives: '9' is no objective"),
        ([*DIGITS, "--objective", "flops"], "are known from the graphs, so nothing is asked"),
        ([*DIGITS, "--limit", "flops=3"], "limits: 'flops=3' is no limit"),
        ([*DIGITS, "--limit", "flops<3", "--limit", "flops>4"], "contradict each other"),
        ([*DIGITS, "--limit", "flops<3"], "none of the networks that were drawn keeps to the limits (flops<3"),
        ([*DIGITS, "--executor", "process:2"], "--executor process:2: is no executor; expected processes:4"),
        ([*DIGITS, "--predictor", "none"], "--predictor: belongs to --method evolve"),
        ([*DIGITS, "--acquisition", "ucb"], "--acquisition: belongs to --method evolve"),
        (["nasbench201", "--table", "digits", "--predictor", "nowhere"], "nowhere"),
        (["nasbench201", "--oracle", "measure.py:both", "--metric", "accuracy"], "is a column of a --table"),
        (["nasbench201", "--oracle", "measure.py"], "'measure.py' does not name a function; expected package"),
        (["nasbench201", "--oracle", "measur.py:both"], "there is no file measur.py"),
        (["nasbench201", "--oracle", "measure.py:all"], "measure has no 'all'; it has"),
        (["nasbench201", "--oracle", "no_module:all"], "ModuleNotFoundError"),
        (["nasbench201", "--oracle", "measure.py:number"], "found a int, expected a function"),
        (["nasbench201", "--command", "python train.py"], "where does the network go? Expected {spec} in it"),
        (["nasbench201", "--command", "pyhton train.py {spec}"], "there is no program 'pyhton'"),
        (["nasbench201", "--command", "python 'train.py {spec}"], "No closing quotation"),
        ([*DIGITS, "--log", "nowhere/log.jsonl"], "there is no folder nowhere"),
        ([*DIGITS, "--report", "nowhere/page.html"], "there is no folder nowhere"),
        ([*DIGITS, "--report", "page.pdf"], "page.pdf: expected a file that ends in .html or .htm; call it page.html"),
        ([*DIGITS, "--log", "measure.py"], "measure.py: not the log of a search"),
        (["nasbench201", "--oracle", "measure.py:both", *RANDOM, "--objective", "loss"], "objective nobody computes"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_one_line_for_an_error(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = tables.load("digits").family("nasbench201")
    columns = {"loss": table["accuracy"], "empty": np.full(len(table), np.nan)}
    tables.write_table(tables.Table("other", table.spec_strings, columns, table.space), Path("other.parquet"))
    assert message in refused(words, capsys)


def test_broken_oracles(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "nasbench201", "--oracle", "measure.py:broken", *RANDOM]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "the oracle failed 5 times in a row, the last time with: RuntimeError: no GPU" in error
    place = f"RuntimeError: no GPU ({Path('measure.py').resolve()}:11)"  # the line of the user's file
    assert found().errors.count(place) == 5


@pytest.mark.slow
def test_a_network_that_takes_too_long() -> None:
    words = ["nasbench201", "--oracle", "measure.py:stuck", *RANDOM, "--queries", "2", "--timeout", "0.3"]
    assert main(["search", *words]) == 0
    assert any("no answer within 0.3 s" in (error or "") for error in found().errors)


def test_logs_of_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", *DIGITS, "--queries", "2"]) == 0
    capsys.readouterr()
    assert "belongs to another search (seed 0 there, 1 now" in refused([*DIGITS, "--seed", "1"], capsys)
    other = refused([*DIGITS, "--metric", "acc_seed1"], capsys)
    assert "accuracy is acc_seed1" in other
    with Search(spaces.get("nasbench201"), search.random_method(spaces.get("nasbench201")), path="open.jsonl"):
        assert "open.jsonl: another process is writing to it" in refused([*DIGITS, "--log", "open.jsonl"], capsys)
    lines = Path("nasbench201-search.jsonl").read_text(encoding="utf-8").splitlines()
    header = json.loads(lines[0]) | {"version": 99}
    del header["checksum"]
    Path("newer.jsonl").write_text("\n".join([json.dumps(header), *lines[1:]]) + "\n", encoding="utf-8")
    assert "version 99, expected 1; upgrade cgir" in refused([*DIGITS, "--log", "newer.jsonl"], capsys)


@pytest.mark.parametrize(("text", "size"), [("800", 800), ("4G", 4 * 10**9), ("1.5M", 1_500_000), (".5k", 500)])
def test_sizes_with_units(text: str, size: int) -> None:
    assert options.parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "G", "0", "-1G", "4GB", "4 G", "nan"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no size; expected a number"):
        options.parse_bytes(text)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon"])
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no number above 0"):
        options.positive_float(text)


def test_values_with_a_sign() -> None:
    words = ["search", "--objective", "-flops", "--objective", "accuracy", "--objective", "--seed", "3"]
    assert options.join_signed(words) == ["search", "--objective=-flops", *words[3:]]
