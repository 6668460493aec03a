"""The searches of label tables: what a network's label is, who may ask what, and what the tables say."""

from __future__ import annotations

import json
import os
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import moocore
import numpy as np
import pytest

import cgir
from examples.papers import search as driver
from examples.papers import search_front
from examples.papers.search_listed import CellSpace
from examples.papers.search_methods import METHODS
from examples.papers.search_problems import problem
from examples.papers.search_rivals import Choices, nsga2, tpe
from examples.papers.search_sources import teachers
from examples.papers.search_table import tables
from frontends import tables as label_tables

pytestmark = pytest.mark.skipif("CGIR_DATA" not in os.environ, reason="needs the label tables: set CGIR_DATA")
MACRO, DARTS, OFA = "NAS-Bench-Macro", "DARTS, 300 cells", "OFA-MobileNetV3 at 224"
TUPLES = (MACRO, "TransNAS-Bench-101 macro, jigsaw", OFA)


def test_isomorphic_networks_are_one_whose_label_is_the_mean_of_theirs() -> None:
    found, table = problem(MACRO), label_tables.load("nasbench_macro")
    assert table.space is not None
    pairs = cgir.isomorphic(
        table.space.graph(table.specs[0]), table.space.graph(found.specs[found.row(table.specs[0])])
    )
    assert pairs
    groups: dict[int, list[float]] = {}
    for spec, label in zip(table.specs, table["cifar10_test_acc_mean"], strict=True):
        groups.setdefault(found.row(spec), []).append(label)
    assert sorted(groups) == list(range(len(found.specs)))
    assert len(groups) < len(table)
    for row, labels in groups.items():
        assert found.oracle(found.specs[row]) == pytest.approx(mean(labels))
    assert found.optimum == pytest.approx(93.1267, abs=1e-4)  # as published
    assert found.rank(found.optimum) == 1
    assert found.rank(float(np.median(found.values))) > 1900


@pytest.mark.slow  # ten thousand graphs of cells unrolled in time
def test_a_loss_is_better_when_lower() -> None:
    found = problem("NAS-Bench-NLP")
    assert found.sign * found.optimum == pytest.approx(4.4088, abs=1e-4)


def test_a_space_of_cells_moves_as_the_space_and_has_the_cells_graphs() -> None:
    found = problem("TransNAS-Bench-101 micro, jigsaw")
    space, rng = CellSpace(found.space, found.specs, found.row), np.random.default_rng(0)
    spec = space.sample(rng)
    child = space.mutate(spec, rng)
    assert {found.specs[found.row(spec)], found.specs[found.row(child)]} == {spec, child}
    assert cgir.isomorphic(space.graphs([child]).graph(0), found.space.cell_graphs([child]).graph(0))


@pytest.mark.parametrize("title", TUPLES)
@pytest.mark.parametrize("rival", [tpe, nsga2])
def test_rivals_ask_distinct_networks_and_repeat_themselves(title: str, rival: Any) -> None:
    found = problem(title)
    asked = rival(found, 25, 3)
    assert len(asked) == len(set(asked)) == 25
    assert asked == rival(found, 25, 3) != rival(found, 25, 4)


def test_rivals_do_better_than_random() -> None:
    found = problem(MACRO)
    half = np.sort(found.values)[len(found.values) // 2]
    for rival in (tpe, nsga2):
        late = [found.values[rival(found, 80, seed)[40:]] for seed in range(3)]
        assert (np.concatenate(late) > half).mean() > 0.7


def test_choices_read_every_row_and_take_the_nearest_of_a_list() -> None:
    for title in TUPLES:
        found = problem(title)
        choices = Choices(found)
        assert [choices.row(codes) for codes in choices.codes[:50]] == found.row_graphs[:50].tolist()
    other = choices.codes[7].copy()
    other[0] = (other[0] + 1) % len(choices.options[0])
    differences = (choices.codes != other).sum(axis=1)
    assert choices.row(other) in found.row_graphs[differences == differences.min()]
    with pytest.raises(ValueError, match="graphs, not tuples"):
        Choices(problem(DARTS))


def test_a_family_and_its_relatives_do_not_teach_its_search() -> None:
    assert not {"transnas_micro", "transnas_macro"} & set(teachers("transnas_micro"))
    assert "nasbench201" not in teachers("nasbench201")
    assert "nasbench101" in teachers("nasbench201")


def test_what_is_done_is_not_run_again_and_a_torn_line_is(tmp_path: Path) -> None:
    path = tmp_path / driver.RUNS
    missing = driver.jobs([DARTS], ["random", "TPE (Optuna)"], [])
    assert {job[1] for job in missing} == {"random"}
    assert len(missing) == driver.SEEDS
    driver.measure(missing[:2], tmp_path, 1)
    whole = path.read_text()
    path.write_text(whole + '{"problem": ')
    done = driver.read(path)
    assert len(done) == 2
    assert driver.jobs([DARTS], ["random"], done) == missing[2:]
    driver.measure(missing[2:3], tmp_path, 1)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["problem"], row["method"], row["seed"]) for row in lines] == missing[:3]
    found = problem(DARTS)
    assert all(row["best"] == np.maximum.accumulate(found.values[row["asked"]]).tolist() for row in lines)
    assert all(len(set(row["asked"])) == found.budget for row in lines)


def test_tables_say_how_many_runs_found_the_optimum_and_when() -> None:
    found = problem(MACRO)
    order = np.argsort(-found.values).tolist()
    runs = [[*order[50:60], order[0]], [*order[70:80], order[3]], [order[9], order[0]]]
    rows = [
        {"problem": MACRO, "method": "random", "seed": seed, "seconds": 1.1, "asked": run}
        | {"best": np.maximum.accumulate(found.values[run]).tolist()}
        for seed, run in enumerate(runs)
    ]
    (table,) = tables(rows)
    assert "93.127" in table.caption
    assert "3,969 networks" in table.caption
    cells = dict(zip(table.columns, table.rows[0], strict=True))
    places = [1, found.rank(found.values[order[3]]), 1]
    assert (cells["search"], cells["found the optimum"]) == ("random", "2 of 3")
    assert cells["rank with 100"] == f"{mean(places):.1f} ± {stdev(places):.1f}"
    assert cells["queries to it"] == f"{mean([11, 2]):.0f} ± {stdev([11, 2]):.0f}"


def test_methods_say_what_they_are_not_for() -> None:
    assert METHODS["TPE (Optuna)"].skip(problem(DARTS))
    assert not METHODS["TPE (Optuna)"].skip(problem(OFA))


def test_the_share_of_a_front_is_what_moocore_says() -> None:
    found = problem(OFA)
    asked = np.random.default_rng(0).permutation(len(found.values))[:30].tolist()
    points = search_front.points(found, range(len(found.values)))
    volume = moocore.hypervolume(-points[asked], ref=[0.01, 0.01]) / moocore.hypervolume(-points, ref=[0.01, 0.01])
    shares = search_front.shares(found, asked)
    assert shares[-1] == pytest.approx(volume)
    assert shares == sorted(shares)
    rows = [{"problem": search_front.TITLE, "method": "random", "best": [0.5] * 99 + [share]} for share in (0.94, 0.96)]
    ((_, _, at_budget, reached, when),) = search_front.table(rows).rows
    assert (at_budget, reached, when) == ("95.0 ± 1.4", "1 of 2", "100")


def test_workers_are_measured_on_one_problem() -> None:
    titles = {job[0] for job in driver.jobs([MACRO, "NAS-Bench-201, CIFAR-10"], ["cgir, 4 workers"], [])}
    assert titles == {"NAS-Bench-201, CIFAR-10"}
