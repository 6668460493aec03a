"""Searches keep to their budget, repeat no query, resume after an interruption, and beat random search."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, ClassVar

import numpy as np
import pytest
from search_samples import SPACE, TINY, Ridge, planted, quiet
from space_checks import rows

import search
from cgir import CgirError, FileFormatError, GraphBatch
from cgir.typing import FloatArray
from encoders import CostPredictor, Predictor, load_pretrained, log_flops
from examples import search_a_space
from frontends import spaces, tables
from frontends.spaces.nasbench201.space import NasBench201
from frontends.spaces.nasbench_macro.space import NasBenchMacro

METHODS = (search.evolve, search.aging_evolution, search.random_search)


class Asked:
    """An oracle that remembers what it was asked, fails on some and can be interrupted."""

    def __init__(self, stop: int | None = None, fails: Callable[[Any], bool] = lambda spec: False) -> None:
        self.specs: list[Any] = []
        self.stop, self.fails = stop, fails

    def __call__(self, spec: Any) -> float:
        if len(self.specs) == self.stop:
            raise KeyboardInterrupt
        self.specs.append(spec)
        return float("nan") if self.fails(spec) else planted(spec)


class Recorder:
    """A predictor that scores by FLOPs and remembers the sizes of what it was given."""

    def __init__(self) -> None:
        self.fits: list[tuple[int, int]] = []
        self.batches: list[int] = []

    def __deepcopy__(self, memo: object) -> Recorder:
        return self  # a search fits a copy

    def fit(self, graphs: GraphBatch, y: Any, seed: int = 0, pool: GraphBatch | None = None) -> Recorder:
        assert pool is not None
        self.fits.append((len(graphs), len(y)))
        return self

    def predict(self, graphs: GraphBatch) -> FloatArray:
        self.batches.append(len(graphs))
        return log_flops(graphs)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("queries", [1, 7, 63])
def test_the_oracle_is_asked_exactly_as_often_as_allowed_and_never_twice(
    method: Callable[..., search.History], queries: int
) -> None:
    oracle = Asked()
    history = method(SPACE, Ridge(), oracle, queries=queries, seed=1, **quiet)
    assert history.specs == oracle.specs
    assert len(set(history.spec_strings)) == len({SPACE.graph(spec).hash for spec in history.specs}) == queries
    assert np.array_equal(history.values, [planted(spec) for spec in history.specs])
    assert planted(history.best) == history.best_value == max(history.values)
    assert np.array_equal(history.running_best, np.maximum.accumulate(history.values))


def test_evolution_with_a_predictor_beats_both_rivals_with_equal_queries() -> None:
    def best(method: Callable[..., search.History], **options: int) -> list[float]:
        return [
            method(SPACE, Ridge(), planted, queries=100, seed=seed, **options, **quiet).best_value for seed in range(5)
        ]

    evolved, drawn = best(search.evolve), best(search.random_search)
    assert mean(evolved) > mean(best(search.aging_evolution, population=15, tournament=5)) > mean(drawn)
    assert min(evolved) == max(map(planted, SPACE.enumerate())) > max(drawn)


def test_evolution_finds_the_best_cells_of_the_benchmark() -> None:
    next(rows("nasbench201.csv.gz"))
    table = tables.load("nasbench201")
    accuracy = dict(zip(table.spec_strings, table["cifar10_test_200ep_mean"], strict=True))
    space = spaces.get("nasbench201", cells=1)

    def ranks(method: Callable[..., search.History]) -> list[int]:
        found = [
            method(
                space, Predictor(head="gp"), lambda spec: accuracy[space.format(spec)], queries=60, seed=seed, **quiet
            )
            for seed in range(3)
        ]
        return [sum(value > history.best_value for value in accuracy.values()) for history in found]

    assert max(ranks(search.evolve)) < 10 < min(ranks(search.random_search))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stop", [0, 8, 23])
def test_an_interrupted_search_goes_on_to_the_same_history(
    method: Callable[..., search.History], stop: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = method(SPACE, Ridge(), planted, queries=40, seed=3, **quiet)
    first, second = Asked(stop=stop), Asked()
    path = tmp_path / "history.jsonl"
    with pytest.raises(KeyboardInterrupt):
        method(SPACE, Ridge(), first, queries=40, seed=3, path=path, **quiet)
    kept = search.History.load(path)
    assert kept.values[:stop].tolist() == [planted(spec) for spec in first.specs]
    with caplog.at_level(logging.INFO):
        resumed = method(SPACE, Ridge(), second, queries=40, seed=3, path=path, **quiet)
    assert f"resuming from {path}, {stop} of {kept.num_queries} with an answer" in caplog.text
    assert first.specs + second.specs == resumed.specs == whole.specs
    assert np.array_equal(resumed.values, whole.values)
    assert np.array_equal(resumed.predicted, whole.predicted, equal_nan=True)
    assert resumed.generations == whole.generations
    again = Asked(stop=0)
    assert method(SPACE, Ridge(), again, queries=40, seed=3, path=path, **quiet).specs == whole.specs


def test_a_finished_search_takes_up_a_larger_budget_and_no_smaller_one(tmp_path: Path) -> None:
    path, oracle = tmp_path / "history.jsonl", Asked()
    search.evolve(SPACE, Ridge(), oracle, queries=30, path=path, **quiet)
    longer = search.evolve(SPACE, Ridge(), oracle, queries=45, path=path, **quiet)
    assert longer.specs == oracle.specs
    assert len(oracle.specs) == 45
    path.unlink()
    with pytest.raises(KeyboardInterrupt):
        search.evolve(SPACE, Ridge(), Asked(stop=2), queries=30, path=path, **quiet)
    oracle = Asked()
    search.evolve(SPACE, Ridge(), oracle, queries=5, path=path, **quiet)
    assert len(oracle.specs) == 3


def test_seeds_decide() -> None:
    first, same, other = (search.evolve(SPACE, Ridge(), planted, queries=30, seed=seed, **quiet) for seed in (5, 5, 6))
    assert first.specs == same.specs
    assert first.specs != other.specs


def test_the_predictor_chooses_in_one_batch_a_generation_and_learns_from_all_answers() -> None:
    predictor = Recorder()
    history = search.evolve(SPACE, predictor, planted, queries=30, start=10, batch=10, children=80, **quiet)
    assert predictor.fits == [(10, 10), (20, 20)]
    assert predictor.batches == [80, 80]
    assert history.generations == [0] * 10 + [1] * 10 + [2] * 10
    assert np.isnan(history.predicted[:10]).all()
    assert np.array_equal(history.predicted[10:], log_flops(SPACE.graphs(history.specs[10:])))
    for part in (history.predicted[10:20], history.predicted[20:]):
        assert np.array_equal(part, np.sort(part)[::-1])
    fixed = Recorder()
    guided = search.evolve(SPACE, fixed, planted, queries=30, batch=10, refit=False, **quiet)
    assert not fixed.fits
    assert np.isfinite(guided.predicted).all()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_pretrained_search_goes_on_to_the_last_bit(workers: int, tmp_path: Path) -> None:
    predictor, path = Predictor(load_pretrained()), tmp_path / "log.jsonl"

    def found(queries: int, path: Path | None = None) -> search.History:
        method = search.evolution_method(SPACE, predictor, batch=4)
        engine = search.Search(SPACE, method, look_ahead=0 if workers == 1 else 2 * workers, path=path)
        return search.run_search(engine, planted, queries, **quiet)

    whole = found(34)
    found(18, path)
    resumed = found(34, path)
    assert resumed.spec_strings == whole.spec_strings
    assert np.array_equal(resumed.predicted, whole.predicted, equal_nan=True)


def test_a_search_knows_nothing_of_what_was_told_in_another() -> None:
    predictor = Predictor(load_pretrained())
    some = SPACE.graphs([SPACE.sample(np.random.default_rng(seed)) for seed in range(20)])
    before = predictor.predict(some)
    first, second = (search.evolve(SPACE, predictor, planted, queries=15, **quiet) for _ in range(2))
    assert first.spec_strings == second.spec_strings
    assert np.array_equal(predictor.predict(some), before)
    # the first networks were ranked without answers, by scores that have no unit
    assert np.isnan(first.predicted[:10]).all()
    assert np.isfinite(first.predicted[10:]).all()


def test_networks_to_start_with_are_asked_first_and_count() -> None:
    start = [SPACE.sample(np.random.default_rng(seed)) for seed in range(6)]
    oracle = Asked()
    history = search.evolve(SPACE, Ridge(), oracle, queries=12, start=[*start, start[0]], **quiet)
    assert oracle.specs[:6] == history.specs[:6] == start
    assert len(oracle.specs) == 12


@dataclass(frozen=True)
class Watched(NasBench201):
    """Remembers whose children were made."""

    mutated: ClassVar[list[Any]] = []

    def mutate(self, spec: Any, rng: np.random.Generator) -> Any:
        Watched.mutated.append(spec)
        return super().mutate(spec, rng)


@pytest.mark.parametrize("method", METHODS)
def test_failed_networks_count_and_are_kept_but_have_no_children(method: Callable[..., search.History]) -> None:
    Watched.mutated.clear()
    oracle = Asked(fails=lambda spec: spec[0] == "none")
    history = method(Watched(channels=4, cells=1), Ridge(), oracle, queries=80, seed=2, **quiet)
    failed = np.isnan(history.values)
    assert len(oracle.specs) == 80
    assert failed.tolist() == [spec[0] == "none" for spec in history.specs]
    assert 0 < failed.sum() < 80
    assert not oracle.fails(history.best)
    if method is search.aging_evolution:  # its children are one mutation away
        assert not any(oracle.fails(spec) for spec in Watched.mutated)


@pytest.mark.parametrize("method", METHODS)
def test_a_search_in_which_everything_fails_says_so(method: Callable[..., search.History], tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    with pytest.raises(CgirError, match="failed 5 times in a row, the last time with: an answer that is not finite"):
        method(SPACE, Ridge(), lambda spec: float("-inf"), queries=60, path=path, **quiet)
    history = search.History.load(path)
    assert np.isnan(history.values).all()
    assert sum(row.answer is not None for row in history.rows) == 5
    with pytest.raises(CgirError, match=r"none of .* networks has a score"):
        _ = history.best


@pytest.mark.parametrize("method", METHODS)
def test_a_space_is_searched_to_its_end(
    method: Callable[..., search.History], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        history = method(TINY, Ridge(), lambda spec: sum(spec), queries=100, **quiet)
    assert len(history) == len({TINY.graph(spec).hash for spec in TINY.enumerate()})
    assert "nothing new" in caplog.text


@pytest.mark.parametrize("method", METHODS)
def test_without_an_oracle_the_predictor_is_searched(method: Callable[..., search.History]) -> None:
    history = method(TINY, CostPredictor(log_flops), None, queries=40, seed=1, **quiet)
    assert len(history) == 40
    assert np.isnan(history.values).all()
    assert np.array_equal(history.scores, log_flops(TINY.graphs(history.specs)))
    if method is search.evolve:
        assert history.best == max(TINY.enumerate(), key=lambda spec: TINY.graph(spec).flops) == (2, 2, 2, 2)


def test_a_search_of_the_predictor_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    class Interrupted(Recorder):
        def predict(self, graphs: GraphBatch) -> FloatArray:
            if len(self.batches) == 2:
                raise KeyboardInterrupt
            return super().predict(graphs)

    whole = search.evolve(SPACE, Recorder(), None, queries=70, children=20, **quiet)
    with pytest.raises(KeyboardInterrupt):
        search.evolve(SPACE, Interrupted(), None, queries=70, children=20, path=tmp_path / "history.jsonl", **quiet)
    rest = Recorder()
    resumed = search.evolve(SPACE, rest, None, queries=70, children=20, path=tmp_path / "history.jsonl", **quiet)
    assert rest.batches == [20, 10]
    assert resumed.specs == whole.specs
    assert np.array_equal(resumed.scores, whole.scores)


def test_only_what_is_allowed_is_asked() -> None:
    limit = float(np.median([SPACE.graph(SPACE.sample(np.random.default_rng(seed))).flops for seed in range(50)]))
    history = search.evolve(
        SPACE, Ridge(), planted, queries=40, limits=lambda spec: SPACE.graph(spec).flops <= limit, **quiet
    )
    assert max(SPACE.graph(spec).flops for spec in history.specs) <= limit
    assert len(history) == 40


@pytest.mark.parametrize("seed", range(3))
def test_aging_evolution_mutates_the_living(seed: int) -> None:
    specs = search.aging_evolution(
        SPACE, Ridge(), planted, queries=60, seed=seed, population=15, tournament=4, **quiet
    ).specs
    for born in range(15, 60):
        distances = [sum(a != b for a, b in zip(specs[born], other, strict=True)) for other in specs[born - 15 : born]]
        assert min(distances) == 1


def test_parents_whose_children_are_all_known_cost_few_draws() -> None:
    Mine.mutated = 0
    space = Mine(stages=(2, 2), channels=4, head=8)  # of 81 networks, with 8 neighbours each
    found = search.aging_evolution(space, None, lambda spec: sum(spec), 60, population=5, tournament=5, **quiet)
    assert len(found) == 60
    assert Mine.mutated < 60 * 208


def test_local_search_draws_neighbours_once_and_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    Watched.mutated.clear()
    space, path = Watched(channels=4, cells=1), tmp_path / "history.jsonl"
    whole = search.local_search(space, planted, 60, start=5, **quiet)
    assert len(Watched.mutated) <= 60 * 200
    with pytest.raises(KeyboardInterrupt):
        search.local_search(space, Asked(stop=40), 60, start=5, path=path, **quiet)
    assert search.local_search(space, planted, 60, start=5, path=path, **quiet).specs == whole.specs


def test_a_history_is_a_label_table(tmp_path: Path) -> None:
    oracle = Asked(fails=lambda spec: spec[0] == "none")
    history = search.evolve(SPACE, Ridge(), oracle, queries=25, **quiet)
    history.save(tmp_path / "found.parquet")
    table = tables.load(tmp_path / "found.parquet")
    assert list(table.specs) == history.specs
    assert np.array_equal(table["accuracy"], history.values, equal_nan=True)
    assert np.isnan(table["accuracy"]).any()
    assert table["asked"].all()
    assert table.space == SPACE
    assert repr(history) == f"History(evolve in {SPACE.name}, 25 queries, accuracy {history.best_value:.6g} at best)"


@dataclass(frozen=True)
class Mine(NasBenchMacro):
    """A space that `spaces.get` does not know."""

    name: ClassVar[str] = "mine"
    mutated: ClassVar[int] = 0

    def mutate(self, spec: Any, rng: np.random.Generator) -> Any:
        Mine.mutated += 1
        return super().mutate(spec, rng)


def test_spaces_of_ones_own_resume_too(tmp_path: Path) -> None:
    asked, space, path = list[Any](), Mine(stages=(2, 2), channels=4, head=8), tmp_path / "mine.jsonl"

    def oracle(spec: Any) -> float:
        asked.append(spec)
        return float(sum(spec))

    search.random_search(space, Ridge(), oracle, queries=9, path=path, **quiet)
    search.random_search(space, Ridge(), oracle, queries=12, path=path, **quiet)
    assert len(asked) == 12
    assert search.History.load(path, space).specs == asked


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"queries": 0}, "queries=0; expected a whole number, at least 1"),
        ({"queries": 2.5}, "queries=2.5; expected a whole number"),
        ({"seed": -1}, "seed=-1"),
        ({"batch": 0}, "batch=0"),
        ({"parents": -3}, "parents=-3"),
        ({"children": 0}, "children=0"),
        ({"start": -1}, "start=-1"),
        ({"start": [("none",) * 6] * 30}, "30 networks to start with, but queries=20"),
        ({"start": 0, "predictor": Predictor(head="gp")}, "nothing was fitted"),
        ({"oracle": lambda spec: "good"}, "'good'.*expected a number"),
        ({"oracle": lambda spec: None}, "None.*expected a number"),
        ({"oracle": lambda spec: {"loss": 1.0}}, "loss.*accuracy"),
        ({"limits": lambda spec: False}, "none of the networks that were drawn keeps to the limits"),
        ({"limits": "flops>1e30"}, "none of the networks that were drawn keeps to the limits .*flops>1e"),
        ({"objectives": ["-flops", "params"]}, "known from the graphs, so nothing is asked"),
        (
            {"objectives": ["accuracy", "-ms"], "oracle": lambda spec: {"accuracy": 1.0, "ms": 2.0}},
            "a predictor of each",
        ),
        ({"acquisition": "ucb"}, "needs standard deviations, which Ridge does not predict"),
        ({"acquisition": "best"}, "expected one of mean, ucb, thompson"),
        ({"crossover": 2}, "crossover=2"),
        ({"workers": 0}, "workers=0"),
        ({"timeout": -1}, "timeout=-1"),
        ({"executor": 3}, "executor=3 has no submit"),
        (
            {"oracle": None, "predictor": CostPredictor(lambda graphs: np.full(len(graphs), np.nan))},
            "score of .* is nan",
        ),
    ],
)
def test_bad_arguments_are_one_clear_line(options: dict[str, Any], message: str) -> None:
    arguments = {"predictor": Ridge(), "oracle": planted, "queries": 20} | options
    with pytest.raises(CgirError, match=message) as caught:
        search.evolve(SPACE, **arguments, **quiet)
    assert "\n" not in str(caught.value)


def test_files_of_other_searches_are_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    search.evolve(SPACE, Ridge(), planted, queries=12, path=path, **quiet)
    content = path.read_bytes()
    others: list[tuple[type[CgirError], str, Callable[[], Any]]] = [
        (
            CgirError,
            "another search .*seed 0 there, 1 now",
            lambda: search.evolve(SPACE, Ridge(), planted, 12, 1, path=path, **quiet),
        ),
        (
            CgirError,
            "batch 5 there, 3 now",
            lambda: search.evolve(SPACE, Ridge(), planted, 12, batch=3, path=path, **quiet),
        ),
        (
            CgirError,
            "method 'evolve' there",
            lambda: search.random_search(SPACE, Ridge(), planted, 12, path=path, **quiet),
        ),
        (CgirError, "oracle True there", lambda: search.evolve(SPACE, CostPredictor(), None, 12, path=path, **quiet)),
        (
            FileFormatError,
            "a search in nasbench201",
            lambda: search.evolve(spaces.get("nasbench201"), Ridge(), planted, 12, path=path, **quiet),
        ),
    ]
    for kind, message, call in others:
        with pytest.raises(kind, match=message):
            call()
        assert path.read_bytes() == content
    table = tables.load("digits").family("nasbench201")
    tables.write_table(table, path)
    with pytest.raises(FileFormatError, match="not the log of a search"):
        search.History.load(path)


def test_the_example_finds_more_with_a_predictor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    search_a_space.main(tmp_path, seeds=1)
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert float(lines["guided"].split()[1]) < float(lines["random"].split()[1])
    assert "40 rows" in lines["history.jsonl:"]
