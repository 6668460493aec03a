"""The tables of rehearsal: trainings that are run once, and rules that are chosen on other families."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from examples.papers import rehearsal_judge
from examples.papers.rehearsal import VARIANTS, jobs, run_missing
from examples.papers.rehearsal_families import FAMILIES, described, sample
from examples.papers.rehearsal_judge import WEIGHTS, Rule, Verdict, best_rule, judge, rules
from examples.papers.rehearsal_table import tables
from examples.papers.zero_cost import read
from frontends import spaces
from frontends import tables as label_tables

NAME = "nasbench201"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a sample of random cells, whose labels are their numbers, and scores of them."""
    space, rng = spaces.get(NAME), np.random.default_rng(0)
    texts = [space.format(space.sample(rng)) for _ in range(44)]
    (tmp_path / f"sample-{NAME}.json").write_text(json.dumps({"texts": texts, "labels": list(range(44))}))
    return tmp_path


def row(text: str, value: float, variant: str = "as shipped") -> dict[str, object]:
    losses = np.linspace(2, 1, 6)[:, None] * np.array([1 - value, 1 + value / 100])
    return {"variant": variant, "family": NAME, "text": text, "losses": losses.tolist(), "seconds": 1.0}


def verdict(gain: float, measure: float) -> Verdict:
    sums = {"log FLOPs": {weight: 0.5 + weight * gain for weight in WEIGHTS}}
    flops = {"log FLOPs": 0.5}
    return Verdict(20, 1.0, 0.5, 0.5, 0.5, 0.5, flops, sums, {"log FLOPs": 0.1}, {"a": measure, "b": 0.0})


def test_samples_are_networks_of_the_table_with_their_labels(tmp_path: Path) -> None:
    if not os.environ.get("CGIR_DATA"):
        pytest.skip("needs the label tables: set CGIR_DATA")
    found, table = sample("naap440", tmp_path), label_tables.load("naap440")
    assert sorted(found.texts) == sorted(table.spec_strings)
    measured = dict(zip(table.spec_strings, table["cifar10_test_acc_best"], strict=True))
    assert found.labels.tolist() == [measured[text] for text in found.texts]
    assert len(described("naap440", tmp_path)) == 440


def test_what_is_done_is_not_run_again(folder: Path) -> None:
    wanted = list(jobs(["another seed"], [NAME], folder))[:2]
    run_missing(wanted[:1], folder)
    first = (folder / "rows.jsonl").read_text()
    run_missing(wanted, folder)
    assert (folder / "rows.jsonl").read_text().startswith(first)
    rows = read(folder / "rows.jsonl")
    assert [found["text"] for found in rows] == list(sample(NAME, folder).texts[:2])
    assert np.shape(rows[0]["losses"]) == (VARIANTS["another seed"].steps, 3)


def test_few_trained_networks_are_not_judged(folder: Path) -> None:
    texts = sample(NAME, folder).texts
    assert judge([row(text, 0.1) for text in texts[:7]], "as shipped", NAME, folder) is None


def test_values_that_are_labels_correlate_perfectly(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal_judge, "SOURCES", folder)  # without what other families taught
    texts = sample(NAME, folder).texts
    rows = [row(text, i / 100) for i, text in enumerate(texts[:24])]
    again = [row(text, i / 100, "another seed") for i, text in enumerate(texts[:24])]
    found = judge(rows + again, "as shipped", NAME, folder, "another seed")
    assert found is not None
    assert found.raw == pytest.approx(1)
    assert list(found.priors) == ["log FLOPs", "cgir, no sources"]
    assert found.measures["seeds agree"] == pytest.approx(1)
    assert found.measures["share of depthwise convolutions"] == 0
    assert found.gain("log FLOPs", 0.0) == 0


def test_a_rule_is_one_that_gains_most_and_loses_least() -> None:
    good = [verdict(0.1, 0.2), verdict(0.2, 0.3), verdict(-0.3, 0.8)]
    rule = best_rule(good, "log FLOPs", rules(good))
    assert rule == Rule("a", True, (0.3 + 0.8) / 2, 1.0)
    assert [rule(found.measures) for found in good] == [1, 1, 0]
    assert (
        best_rule(good[:2], "log FLOPs", rules(good[:2]))({"a": 9.0, "b": 0.0}) == 1
    )  # of equal ones the constant is taken
    assert {found.measure for found in rules(good)} == {"", "a"}


def test_tables_show_each_family_and_rules_of_the_others(folder: Path) -> None:
    texts = sample(NAME, folder).texts
    rows = [row(text, i / 100) for i, text in enumerate(texts[:10])]
    rows += [row(text, i / 90, "60 steps") for i, text in enumerate(texts[:10])]
    found = tables(rows, folder)
    assert found[0].rows[0][:2] == (FAMILIES[NAME], "10")
    assert [line[:3] for line in found[-1].rows] == [("60 steps", FAMILIES[NAME], "10")]
