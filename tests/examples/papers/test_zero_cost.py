"""The tables of zero-cost proxies: networks of the families, rows that are measured once, and what is made of them."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from encoders.metrics import spearman
from examples.papers import zero_cost, zero_cost_families
from examples.papers.universal_families import METRICS
from examples.papers.zero_cost import Job, read, run, run_missing
from examples.papers.zero_cost_families import BATCH, SEEDS, SIZES, SKELETONS, Sample, batches, network, resized, sample
from examples.papers.zero_cost_table import (
    OURS,
    bootstrap_error,
    part_values,
    partial_spearman,
    tables,
    vote,
    with_worst,
)
from frontends import tables as label_tables
from search.zero_cost import NAMES
from search.zero_cost.az_nas import Components

CELLS = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|",
    "|nor_conv_1x1~0|+|none~0|none~1|+|skip_connect~0|avg_pool_3x3~1|none~2|",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With batches of random images, and networks of a size for tests."""
    monkeypatch.setitem(SKELETONS, "nasbench201", {"channels": 4, "cells": 1})
    monkeypatch.setitem(SIZES, "nasbench201", 8)
    rng = np.random.default_rng(0)
    pixels = rng.normal(size=(SEEDS * BATCH, 3, 32, 32)).astype(np.float32)
    np.savez(tmp_path / "batches.npz", pixels=pixels, labels=rng.integers(10, size=SEEDS * BATCH))
    batches.cache_clear()
    return tmp_path


@pytest.mark.parametrize("name", ["darts", "transnas_micro"])
def test_samples_are_networks_of_the_table_with_their_labels(name: str) -> None:
    if not os.environ.get("CGIR_DATA"):
        pytest.skip("needs the label tables: set CGIR_DATA")
    found, table = sample(name), label_tables.load(name)
    measured = dict(zip(table.spec_strings, table[METRICS[name]["accuracy"]], strict=True))
    assert len(found.texts) == len(set(found.texts)) == {"darts": 296, "transnas_micro": 300}[name]
    assert found.labels.tolist() == [measured[text] for text in found.texts]


@pytest.mark.parametrize("name", SKELETONS)
def test_networks_take_the_images_and_are_equal_for_equal_seeds(name: str) -> None:
    from frontends import spaces

    space = spaces.get(name)
    text = space.format(space.sample(np.random.default_rng(0)))
    state = torch.get_rng_state()
    first, again, other = (network(name, text, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    logits = first(resized(torch.randn(2, 3, 32, 32), SIZES[name]))
    assert logits.shape[0] == 2
    assert logits.shape[1] >= 10
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_images_are_averaged_or_repeated() -> None:
    pixels = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert resized(pixels, 2).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert torch.equal(resized(pixels, 8)[..., 1::2, ::2], pixels)
    assert resized(pixels, 4) is pixels or torch.equal(resized(pixels, 4), pixels)


def test_what_is_done_is_not_run_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [Job("proxies", "nasbench201", text, 0) for text in CELLS]
    run_missing(jobs[:1], folder, 1)
    path = folder / "rows.jsonl"
    path.write_text(path.read_text() + '{"part": "prox')  # cut off
    run_missing(jobs, folder, 1)
    rows = read(path)
    assert [row["text"] for row in rows] == list(CELLS)
    assert set(rows[0]["scores"]) == {*NAMES, *Components._fields}
    monkeypatch.setattr(zero_cost, "ProcessPoolExecutor", None)
    run_missing(jobs, folder, 1)
    again = run(jobs[1], folder)
    assert json.loads(json.dumps(again["scores"])) == rows[1]["scores"]


def test_parts_measure_what_they_say(folder: Path) -> None:
    alone = run(Job("alone", "nasbench201", CELLS[0], 0), folder)["scores"]
    assert set(alone) == {*NAMES, "az_nas"}
    assert all(seconds >= 0 for seconds in alone.values())
    dense = {steps: run(Job(f"dense {steps}", "nasbench201", CELLS[0], 0), folder)["scores"] for steps in (20, 60)}
    assert dense[60]["dense_regression, 60 steps"] < dense[20]["dense_regression, 20 steps"] < 0


def test_votes_are_those_of_a_loop() -> None:
    scores = [np.random.default_rng(seed).integers(5, size=12).astype(float) for seed in range(3)]
    expected = [sum(np.sign(sum(np.sign(s[i] - s[j]) for s in scores)) for j in range(12)) for i in range(12)]
    assert vote(scores).tolist() == expected


def test_undefined_scores_are_last() -> None:
    assert with_worst(np.array([1.0, np.nan, -3.0])).argsort().tolist() == [1, 2, 0]
    assert len(set(with_worst(np.full(3, np.nan)))) == 1


def test_standard_error_is_about_that_of_normal_variables() -> None:
    """(1 - rho^2) / sqrt(n) (1.06 for ranks) of a correlation, Bonett and Wright 2000."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    y = x + rng.normal(size=400)
    rho = spearman(x, y)
    assert bootstrap_error(x, y) == pytest.approx((1 + rho**2 / 2) ** 0.5 * (1 - rho**2) / 397**0.5, rel=0.15)


def test_partial_correlation_is_that_of_residuals() -> None:
    rng = np.random.default_rng(0)
    size = rng.normal(size=200)
    scores, labels = size + rng.normal(size=200), size + rng.normal(size=200)
    ranks = [stats.rankdata(values) for values in (scores, labels, size)]
    residuals = [r - np.polyval(np.polyfit(ranks[2], r, 1), ranks[2]) for r in ranks[:2]]
    assert partial_spearman(scores, labels, size) == pytest.approx(np.corrcoef(*residuals)[0, 1])
    assert partial_spearman(size, labels, size) is None


def rows_of(part: str, texts: tuple[str, ...], seed: int) -> list[zero_cost.Row]:
    rng = np.random.default_rng(seed)
    job = partial(dict, part=part, family="nasbench201", seed=seed, seconds=1.0)
    names = {"alone": (*NAMES, "az_nas"), "dense 20": ("dense_regression, 20 steps",)}.get(
        part, (*NAMES, *Components._fields)
    )
    return [job(text=text, scores={name: rng.normal() for name in names}) for text in texts]


def test_tables_are_of_the_networks_that_were_measured() -> None:
    texts = tuple("abcdefghij")
    labels = np.random.default_rng(9).normal(size=10)
    samples = {"nasbench201": Sample(np.arange(10), texts, labels)}
    rows = rows_of("proxies", texts[:8], 0) + rows_of("alone", texts[:2], 0) + rows_of("dense 20", texts[:4], 0)
    rows += [row for seed in range(1, SEEDS) for row in rows_of("seeds", texts[:6], seed)]
    rows[0]["scores"]["synflow"] = None
    rows[5]["seconds"] = 9.0  # of a network whose proxies were not timed by themselves
    values = part_values(rows, samples["nasbench201"], "proxies", "nasbench201")
    main, beyond, seeds, dense, seconds, undefined = tables(rows, samples, {"nasbench201": labels})
    rhos = {name: rho for name, rho, _ in main.rows}
    assert rhos[OURS].startswith("**1.000 ±")
    assert rhos["naswot"].startswith(f"{spearman(values['naswot'], labels[:8]):.3f} ±")
    assert ("log FLOPs", "") not in beyond.rows
    assert seeds.columns[1] == "NAS-Bench-201, 6"
    assert dense.rows[0][:4] == ("NAS-Bench-201", "4", "20", "1.00")
    assert seconds.rows[-1] == ("all in one call, and az_nas", "1.000")
    assert undefined.rows == (("synflow", "1"),)
    assert all(
        len(line) == len(table.columns) for table in (main, beyond, seeds, dense, seconds) for line in table.rows
    )


def test_rows_that_are_no_beginning_of_the_sample_are_not_shown() -> None:
    texts = tuple("abc")
    samples = {"nasbench201": Sample(np.arange(3), texts, np.arange(3.0))}
    assert part_values(rows_of("proxies", texts[1:], 0), samples["nasbench201"], "proxies", "nasbench201") == {}
    assert zero_cost_families.NETWORKS == 300
