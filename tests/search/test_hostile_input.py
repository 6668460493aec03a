"""What strangers do to a search: full disks, copies of the process, odd answers, names that mean two things."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from search_samples import SPACE, TINY, Ridge, planted, quiet

import search
from cgir import CgirError, FileFormatError
from cgir.checksums import sealed_json
from encoders import CostPredictor
from frontends import spaces
from search.history import History


def searching(**options: Any) -> search.Search:
    return search.Search(SPACE, search.random_method(SPACE), **options)


class Odd:
    """An answer, or an error, whose own methods raise."""

    def __float__(self) -> float:
        raise KeyError("no number")

    def __repr__(self) -> str:
        raise KeyError("no text")


class Silent(Exception):
    def __str__(self) -> str:
        raise KeyError("no message")


def test_a_line_that_the_disk_does_not_take_is_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with searching(path=path) as asks:
        asks.ask(2)
        size = path.stat().st_size
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, limits[1]))  # a part of the line has room
            with pytest.raises(OSError, match="too large"):
                asks.tell(0, 1.0)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)
        assert path.stat().st_size == size
        asks.tell(0, 2.0)
    assert History.load(path).values[0] == 2.0


def test_one_file_has_one_lock_by_whatever_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "log.jsonl")
    monkeypatch.chdir(tmp_path)
    with searching(path="log.jsonl") as first:
        first.ask(1)
        monkeypatch.chdir(tmp_path / "elsewhere")
        with pytest.raises(CgirError, match="another process"):
            searching(path=tmp_path / "link.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "link.jsonl", "log.jsonl"]


@pytest.mark.parametrize("path", ["", "/", "/dev/zero", "a\0b"])
def test_a_path_that_is_no_file(path: str) -> None:
    with pytest.raises(CgirError, match="use another path"):
        searching(path=path)
    if path:
        with pytest.raises(FileFormatError, match="cannot be read"):
            History.load(path)


def test_a_copy_of_the_process_writes_nothing(tmp_path: Path) -> None:
    """The oracle forks, and the copy comes back from it, too."""
    path, copies = tmp_path / "log.jsonl", list[int]()

    def oracle(spec: Any) -> float:
        if not copies:
            copies.append(os.fork())
        return planted(spec)

    try:
        history = search.random_search(SPACE, None, oracle, 5, path=path, **quiet)
    except CgirError as error:
        os._exit(3 if "copy" in str(error) and (tmp_path / ".log.jsonl.lock").exists() else 4)
    assert os.waitstatus_to_exitcode(os.waitpid(copies[0], 0)[1]) in (3, 4)
    assert History.load(path).values.tolist() == history.values.tolist()


def test_a_closed_search_says_so(tmp_path: Path) -> None:
    with searching(path=tmp_path / "log.jsonl") as asks:
        asks.ask(1)
    with pytest.raises(CgirError, match="is closed"):
        asks.tell(0, 1.0)


def test_threads_take_turns(tmp_path: Path) -> None:
    with searching(path=tmp_path / "log.jsonl") as asks:
        threads = [threading.Thread(target=lambda: [asks.tell(t.number, 1.0) for t in asks.ask(3)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(asks.history.spec_strings)) == asks.history.num_queries == 24
        assert not asks.pending()


def test_ten_thousand_answers_take_seconds() -> None:
    history = searching().history
    text = SPACE.format(SPACE.sample(np.random.default_rng(0)))
    history.apply({"ask": [text] * 10_000})
    start = time.process_time()
    for number in range(10_000):
        history.apply({"tell": number, "answer": {"accuracy": 1.0}, "error": None, "seconds": None})
        assert len(history.pending()) == 9_999 - number or number % 100
        assert history.num_queries == 10_000
    assert time.process_time() - start < 3.0


@pytest.mark.parametrize(
    ("options", "error", "seconds"),
    [
        ({"error": ValueError("bad")}, "ValueError: bad", None),
        ({"error": "caf\udce9", "seconds": np.float32(2)}, "caf\udce9", 2.0),
        ({"seconds": float("nan")}, None, None),
    ],
)
def test_whatever_is_told_has_a_line(options: Any, error: str | None, seconds: float | None, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with searching(path=path) as asks:
        asks.ask(1)
        asks.tell(0, None, **options)
    row = History.load(path).rows[0]
    assert (row.error, row.seconds) == (error, seconds)


def test_errors_without_a_readable_message_are_failures(tmp_path: Path) -> None:
    problems = iter([FileNotFoundError("caf\udce9"), Silent()])

    def oracle(spec: Any) -> float:
        if problem := next(problems, None):
            raise problem
        return 1.0

    history = search.random_search(SPACE, None, oracle, 4, path=tmp_path / "log.jsonl", **quiet)
    first, second, *others = history.errors
    assert others == [None, None]
    assert first is not None
    assert first.startswith("FileNotFoundError: caf\\udce9 (")  # and where it was raised
    assert second is not None
    assert second.startswith("Silent (")
    history.save(tmp_path / "history.parquet")


def test_answers_whose_own_methods_raise_are_refused() -> None:
    with pytest.raises(CgirError, match="answered an object of Odd for accuracy"):
        search.random_search(SPACE, None, lambda spec: Odd(), 3, **quiet)  # type: ignore[arg-type, return-value]


def test_what_was_not_asked_for_is_no_failure_and_hides_nothing(tmp_path: Path) -> None:
    extra = {"other": float("nan"), "generation": 7.0, "error": 5.0, "spec": 1.0, "predicted_accuracy": 3.0}
    history = search.evolve(
        SPACE, Ridge(), lambda spec: {"accuracy": planted(spec)} | extra, 12, path=tmp_path / "log.jsonl", **quiet
    )
    table = history.table()
    assert sorted(table.columns) == ["accuracy", "asked", "generation", "other", "predicted_accuracy"]
    assert table["generation"].tolist() == history.generations
    assert np.array_equal(table["predicted_accuracy"], history.predicted, equal_nan=True)
    assert table.text_columns["error"] == ("",) * 12


@pytest.mark.parametrize("name", ["generation", "asked", "error", "spec", "predicted_accuracy"])
def test_objectives_and_limits_have_names_of_their_own(name: str) -> None:
    with pytest.raises(CgirError, match=f"objectives: {name} is a column"):
        searching(objectives=["accuracy", name])
    with pytest.raises(CgirError, match=f"limits: {name} is a column"):
        searching(limits=f"{name}<3")


@pytest.mark.parametrize(
    ("space", "predictor", "options", "message"),
    [
        (SPACE, None, {}, "NoneType is no predictor"),
        (SPACE, {"accuracy": Ridge()}, {"objectives": ["accuracy", "-lat"]}, "no predictor of 'lat'"),
        (SPACE, Ridge(), {"objectives": ["accuracy", "-lat"]}, "give a predictor of each"),
        (spaces.get("nasbench101"), Ridge(), {"crossover": 0.5}, "cannot be crossed"),
        (SPACE, Ridge(), {"crossover": "0.5"}, "expected the share"),
        (SPACE, Ridge(), {"start": "abc"}, "a list of specs"),
        (SPACE, Ridge(), {"start": ["abc"]}, "start has 'abc', which is no network of nasbench201"),
        (SPACE, Ridge(), {"start": [("a",)]}, "is no network of nasbench201"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_asked(
    space: Any, predictor: Any, options: Any, message: str
) -> None:
    def oracle(spec: Any) -> float:
        raise KeyboardInterrupt

    with pytest.raises(CgirError, match=message):
        search.evolve(space, predictor, oracle, 20, **options, **quiet)


def test_misspelt_options_are_refused() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument worker"):
        search.random_search(SPACE, None, planted, 5, worker=2, **quiet)  # type: ignore[call-arg]


@pytest.mark.parametrize("look_ahead", [-1, 2.5, "x"])
def test_a_look_ahead_is_a_number(look_ahead: Any) -> None:
    with pytest.raises(CgirError, match="expected a number of networks, or None"):
        searching(look_ahead=look_ahead)


def test_networks_to_start_with_may_be_strings() -> None:
    texts = [SPACE.format(SPACE.sample(np.random.default_rng(seed))) for seed in range(3)]
    assert search.evolve(SPACE, Ridge(), planted, 3, start=texts, **quiet).spec_strings == texts


@pytest.mark.parametrize("change", [lambda p: p[:, None], lambda p: p[:-1], lambda p: 1.0, lambda p: ["a"] * len(p)])
def test_scores_are_one_number_for_each_graph(change: Callable[[Any], Any]) -> None:
    class Strange(Ridge):
        def predict(self, graphs: Any) -> Any:
            return change(super().predict(graphs))

    with pytest.raises(CgirError, match=r"Strange predicts (\(.*\) scores for|no numbers)"):
        search.evolve(SPACE, Strange(), planted, 15, children=20, **quiet)


def test_old_results_need_not_be_listed() -> None:
    every = list(TINY.enumerate())
    space = search.ListedSpace(TINY, every[:30])
    method = search.evolution_method(space, CostPredictor(), start=2, children=5, batch=2)
    asks = search.Search(space, method, seed=0)
    asks.add(every[50], 100.0)
    for _ in range(6):
        for trial in asks.ask(2):
            assert trial.spec in space
            asks.tell(trial.number, 1.0)
    assert asks.history.num_queries == 12


def test_a_space_of_which_all_is_known_is_at_its_end() -> None:
    asks = search.Search(TINY, search.random_method(TINY))
    for spec in TINY.enumerate():
        try:
            asks.add(spec, 1.0)
        except CgirError as error:
            assert "with an equal graph" in str(error)  # noqa: PT017
    assert asks.ask(3) == []


@pytest.mark.parametrize("event", [{"tell": 0, "answer": {"accuracy": 10**400}, "error": None, "seconds": None}])
def test_numbers_that_no_computer_has_are_damage(event: Any, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with searching(path=path) as asks:
        asks.ask(1)
    with path.open("ab") as file:
        file.write(sealed_json(event))
    with pytest.raises(FileFormatError, match="line 3 tells nothing of this search"):
        History.load(path)


@pytest.mark.parametrize("reference", [5.0, None, "ab", [1.0], [[0.0, 1.0]]])
def test_a_reference_has_a_number_for_each_objective(reference: Any) -> None:
    with pytest.raises(CgirError, match="hypervolume: "):
        searching(objectives=["accuracy", "-lat"]).history.hypervolume(reference)


def test_limits_that_are_far_away_are_none() -> None:
    history = search.random_search(SPACE, None, planted, 2, timeout=1e12, **quiet)
    assert history.errors == [None, None]
