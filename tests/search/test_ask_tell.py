"""Ask and tell without a loop: numbers, old results, several objectives, look-ahead, and a log to go on from."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from search_samples import SPACE, TINY, Ridge, planted, quiet

import search
from cgir import CgirError, FileFormatError
from cgir.checksums import KEY, sealed_json
from cgir.errors import SpecError
from encoders import Predictor
from frontends import tables


def test_a_loop_of_ones_own_finds_what_evolve_finds() -> None:
    whole = search.evolve(SPACE, Ridge(), planted, 40, seed=3, **quiet)
    with search.Search(SPACE, search.evolution_method(SPACE, Ridge(), seed=3), seed=3, look_ahead=0) as mine:
        while mine.history.num_queries < 40:
            for trial in mine.ask(10 if not len(mine.history) else 5):
                assert SPACE.format(trial.spec) == trial.text
                mine.tell(trial.number, planted(trial.spec))
    assert mine.history.specs == whole.specs
    assert np.array_equal(mine.history.values, whole.values)


def test_answers_may_come_in_any_order_and_change_nothing_within_the_look_ahead() -> None:
    def found(shuffle: bool) -> list[str]:
        mine = search.Search(SPACE, search.evolution_method(SPACE, Ridge(), start=6), seed=1, look_ahead=8)
        waiting: list[search.Trial] = []
        rng = np.random.default_rng(0)
        while mine.history.num_queries < 40:
            if mine.is_ready:
                waiting += mine.ask(2)
            else:
                assert mine.ask(2) == []
                trial = waiting.pop(int(rng.integers(len(waiting))) if shuffle else 0)
                mine.tell(trial.number, planted(trial.spec))
        return mine.history.spec_strings

    assert found(shuffle=True) == found(shuffle=False)


def test_old_results_are_answers_but_no_queries_and_are_not_asked_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = [SPACE.sample(np.random.default_rng(seed)) for seed in range(12)]
    best = max(old, key=planted)

    def start() -> search.Search:
        mine = search.Search(SPACE, search.evolution_method(SPACE, Ridge(), start=0), path=tmp_path / "log.jsonl")
        for spec in old:
            mine.add(spec, planted(spec))
        return mine

    with start() as mine:
        assert (mine.history.num_queries, len(mine.history), mine.history.best) == (0, 12, best)
        asked = mine.ask(5)
        assert not {trial.spec for trial in asked} & set(old)
        assert np.isfinite(mine.history.predicted[12:]).all()  # the predictor learned from old results
        with caplog.at_level(logging.WARNING):
            mine.add(SPACE.format(old[0]), 1.0)
        assert "is known already and left out" in caplog.text
        assert len(mine.history) == 17
    with start() as again:  # a script that is run again adds nothing twice
        assert [trial.text for trial in again.pending()] == [trial.text for trial in asked]
        assert len(again.history) == 17


def test_several_objectives_and_limits() -> None:
    answers = {spec: {"accuracy": planted(spec), "ms": 1.0 + spec.count("nor_conv_3x3")} for spec in SPACE.enumerate()}
    history = search.evolve(
        SPACE,
        {"accuracy": Ridge(), "ms": Ridge()},
        answers.__getitem__,
        60,
        objectives=["accuracy", "-ms", "-flops"],
        limits=["params<12k", "ms<=4"],
        **quiet,
    )
    graphs = SPACE.graphs(history.specs)
    flops = np.asarray([SPACE.graph(spec).flops for spec in history.specs], np.float64)
    params = np.asarray([SPACE.graph(spec).num_params for spec in history.specs], np.float64)
    assert len(graphs) == 60
    assert np.array_equal(history.column("flops"), flops)
    assert params.max() < 12_000
    values = history.objective_values
    assert np.array_equal(values[:, 0], [planted(spec) for spec in history.specs])
    front = history.front()
    assert front
    assert all(values[row, 1] <= 4 for row in [*front, *history.top(60)])
    for row in front:
        better = (values[:, 0] >= values[row, 0]) & (values[:, 1:] <= values[row, 1:]).all(axis=1) & (values[:, 1] <= 4)
        strictly = better & ((values != values[row]).any(axis=1))
        assert not strictly.any()
    drawn = search.random_search(
        SPACE,
        None,
        answers.__getitem__,
        60,
        objectives=["accuracy", "-ms", "-flops"],
        limits=["params<12k", "ms<=4"],
        **quiet,
    )
    reference = (0.0, 7.0, float(flops.max()))
    assert history.hypervolume(reference) > drawn.hypervolume(reference)


@pytest.mark.parametrize("acquisition", ["mean", "ucb", "thompson"])
def test_acquisitions_find_good_networks(acquisition: str) -> None:
    method: dict[str, Any] = {"acquisition": acquisition, "children": 60, "batch": 10, "crossover": 0.5}
    history = search.evolve(SPACE, Predictor(head="gp"), planted, 40, **method, **quiet)
    drawn = [search.random_search(SPACE, None, planted, 40, seed, **quiet).best_value for seed in range(5)]
    assert history.best_value > np.mean(drawn)


def test_local_search_climbs_and_goes_on_behind_an_optimum() -> None:
    history = search.local_search(SPACE, planted, 60, seed=2, start=5, **quiet)
    for row in range(5, 60):
        spec = history.specs[row]
        near = [sum(a != b for a, b in zip(spec, other, strict=True)) for other in history.specs[:row]]
        assert min(near) == 1
    assert history.best_value > search.random_search(SPACE, None, planted, 60, seed=2, **quiet).best_value
    assert len(search.local_search(TINY, lambda spec: float(sum(spec)), 100, **quiet)) == len(
        {TINY.graph(spec).hash for spec in TINY.enumerate()}
    )


def test_a_search_by_a_proxy_asks_in_the_order_of_the_proxy() -> None:
    def proxy(spec: Any) -> float | None:
        return None if spec[0] == "none" else float(spec.count("nor_conv_3x3"))

    for limits in ((), lambda spec: spec[5] != "none"):
        history = search.proxy_search(SPACE, proxy, planted, 30, sample=50, limits=limits, **quiet)
        scores = [proxy(spec) for spec in history.specs]
        defined = [score for score in scores if score is not None]
        assert scores[: len(defined)] == sorted(defined, reverse=True)
        assert history.num_queries == 30


def test_wrong_tells_are_one_line() -> None:
    mine = search.Search(SPACE, search.random_method(SPACE))
    (trial,) = mine.ask()
    for number, answer, message in (
        (5, 1.0, "expected the number of a trial, 0 to 0"),
        (-1, 1.0, "expected the number of a trial"),
        (trial.number, "good", "expected a number"),
        (trial.number, {"loss": 1.0}, "accuracy"),
    ):
        with pytest.raises(CgirError, match=message) as caught:
            mine.tell(number, answer)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
    mine.tell(trial.number, {"accuracy": 1.0, "loss": 2.0})
    assert mine.history.column("loss").tolist() == [2.0]
    with pytest.raises(CgirError, match="has an answer already"):
        mine.tell(trial.number, 2.0)
    with pytest.raises(CgirError, match="expected a number of networks"):
        mine.ask(0)
    with pytest.raises(SpecError):
        mine.add("nonsense", 1.0)


def test_the_log_has_a_line_an_ask_and_a_line_an_answer(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    history = search.evolve(SPACE, Ridge(), planted, 20, path=path, **quiet)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert lines[0]["format"] == "cgir-search"
    assert [len(line["ask"]) for line in lines[1:] if "ask" in line] == [10, 5, 5]
    assert [line["tell"] for line in lines if "tell" in line] == list(range(20))
    read = search.History.load(path)
    assert read.specs == history.specs
    for name in ("values", "predicted", "generations"):
        assert np.array_equal(getattr(read, name), getattr(history, name), equal_nan=True)
    history.save(tmp_path / "table.parquet")
    table = tables.load(tmp_path / "table.parquet")
    assert np.array_equal(table["accuracy"], history.values)
    assert np.array_equal(table["predicted_accuracy"], history.predicted, equal_nan=True)


@pytest.mark.parametrize("cut", range(1, 120, 7))
def test_a_torn_last_line_is_dropped_wherever_it_was_torn(cut: int, tmp_path: Path) -> None:
    path, whole = tmp_path / "log.jsonl", search.evolve(SPACE, Ridge(), planted, 16, **quiet)
    search.evolve(SPACE, Ridge(), planted, 16, path=path, **quiet)
    path.write_bytes(path.read_bytes()[:-cut])
    asked: list[Any] = []

    def oracle(spec: Any) -> float:
        asked.append(spec)
        return planted(spec)

    resumed = search.evolve(SPACE, Ridge(), oracle, 16, path=path, **quiet)
    assert resumed.specs == search.History.load(path).specs == whole.specs
    assert np.array_equal(resumed.values, whole.values)
    assert 1 <= len(asked) <= 3


def test_damaged_foreign_and_newer_logs_are_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    search.evolve(SPACE, Ridge(), planted, 12, path=path, **quiet)
    lines = path.read_bytes().splitlines(keepends=True)
    header, second = ({k: v for k, v in json.loads(line).items() if k != KEY} for line in (lines[0], lines[2]))
    damaged = {
        "line 3 is damaged": [*lines[:2], b"{not json\n", *lines[3:]],
        "line 3 tells nothing": [*lines[:2], sealed_json({**second, "tell": 99}), *lines[3:]],
        "line 4 tells nothing .*has an answer already": [*lines[:3], lines[2], *lines[3:]],
        "version 2, expected 1; upgrade cgir": [sealed_json({**header, "version": 2}), *lines[1:]],
        "not the log of a search": [b"spec,accuracy\n", b"x,1\n"],
        "names no search space": [sealed_json({**header, "space": 3}), *lines[1:]],
        "header is damaged": [sealed_json({**header, "config": {}}), *lines[1:]],
    }
    for message, content in damaged.items():
        path.write_bytes(b"".join(content))
        for read in (
            lambda: search.History.load(path),
            lambda: search.evolve(SPACE, Ridge(), planted, 12, path=path, **quiet),
        ):
            with pytest.raises(FileFormatError, match=message) as caught:
                read()
            assert "\n" not in str(caught.value)
        assert path.read_bytes() == b"".join(content)


def test_two_searches_cannot_write_one_log(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    script = (
        "import sys, search; from frontends import spaces; s = spaces.get('nasbench201', cells=1, channels=4)\n"
        f"mine = search.Search(s, search.random_method(s), path={str(path)!r})\n"
        "mine.ask(); print('ready', flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        with pytest.raises(CgirError, match="another process is writing to it"):
            search.Search(SPACE, search.random_method(SPACE), path=path)
        assert len(search.History.load(path)) == 1  # whoever only reads may
        other.kill()
    with search.Search(SPACE, search.random_method(SPACE), path=path) as mine:  # the lock ends with its process
        assert len(mine.pending()) == 1


def test_the_lock_leaves_nothing_behind(tmp_path: Path) -> None:
    search.random_search(SPACE, None, planted, 5, path=tmp_path / "log.jsonl", **quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]
