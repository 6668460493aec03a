"""The report of a search: what it says is what the history says, whatever the history is like."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

import cgir
import search
from cgir import CgirError
from cgir.pages.charts import HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, Chart, number
from frontends import spaces
from frontends.spaces import Space
from search.report import build_lines

SPACE = spaces.get("nasbench201", cells=1, channels=4)
EVIL = "<script>alert('&')</script>"


class Page(HTMLParser):
    """Text and tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.urls: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.urls += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)


def value(spec: Any) -> float:
    return float(sum((n + 1) * ("conv" in op) for n, op in enumerate(spec)))


def both(spec: Any) -> dict[str, float]:
    return {"accuracy": value(spec), "latency_ms": 1.0 + sum("3x3" in op for op in spec)}


def searched(oracle: Any = value, queries: int = 12, seed: int = 0, **options: Any) -> search.History:
    return search.random_search(SPACE, None, oracle, queries, seed, progress=False, **options)


def report(histories: Any, path: Path) -> Page:
    """The page, after checks that hold for all of them."""
    search.write_report(histories, path)
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []  # every tag is closed
    assert "script" not in page.tags
    assert all(url.startswith("data:") for url in page.urls)  # no network
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert "nan" not in "".join(re.findall(r' d="([^"]*)"', text))
    for drawing in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(drawing)
    assert len(text) < 5e6
    return page


def test_a_search_of_one_objective(tmp_path: Path) -> None:
    history = searched()
    history.report(tmp_path / "page.html")
    page = report(history, tmp_path / "again.html")
    assert (tmp_path / "page.html").read_bytes() == (tmp_path / "again.html").read_bytes()
    row = int(np.argmax(history.values))
    assert "random search in nasbench201" in page.text
    assert f"Best: accuracy {max(history.values):g} , network {row + 1} {history.spec_strings[row]}" in page.text
    table = page.text.partition("The best 10 ")[2].partition(" How it was called ")[0]
    order = np.argsort(-history.values, kind="stable")[:10]
    assert re.findall(r"\|\S+", table) == [history.spec_strings[row] for row in order]
    assert "seed 0" in page.text
    assert "Hypervolume" not in page.text


def test_several_objectives(tmp_path: Path) -> None:
    history = searched(both, objectives=["accuracy", "-latency_ms", "-flops"], limits="latency_ms<7")
    page = report(history, tmp_path / "page.html")
    values = history.objective_values
    kept = values[values[:, 1] < 7]
    worst = [kept[:, 0].min(), kept[:, 1].max(), kept[:, 2].max()]
    assert f"Hypervolume of the front: {history.hypervolume(worst):.5g}" in page.text
    for pair in ("accuracy and latency_ms", "accuracy and flops", "latency_ms and flops"):
        assert f" {pair} " in page.text
    assert f"{len(history.front())} of {len(kept)} networks are on the front" in page.text


def test_several_seeds(tmp_path: Path) -> None:
    histories = [searched(seed=seed, queries=5 + seed) for seed in range(4)]
    page = report(histories, tmp_path / "page.html")
    assert "Median of 4 searches" in page.text
    assert f"Best: accuracy {max(max(history.values) for history in histories):g} " in page.text
    assert "26 queries of 4 searches" in page.text
    for history in histories:
        row = int(np.argmax(history.values))
        line = f"{history.config['seed']} {len(history)} {history.values[row]:g} {row + 1} {history.spec_strings[row]}"
        assert line in page.text


def test_failures_and_what_they_say_are_text(tmp_path: Path) -> None:
    def oracle(spec: Any) -> float:
        if spec[0] == "none":
            raise RuntimeError(EVIL)
        return float("nan") if spec[0] == "avg_pool_3x3" else value(spec)

    history = searched(oracle, 25)
    page = report(history, tmp_path / "page.html")
    raised = sum(spec[0] == "none" for spec in history.specs)
    infinite = sum(spec[0] == "avg_pool_3x3" for spec in history.specs)
    assert raised
    assert infinite
    assert f"{raised + infinite} networks failed" in page.text
    line = oracle.__code__.co_firstlineno + 2
    assert f"{raised} RuntimeError: {EVIL} ({__file__}:{line}) |none" in page.text
    assert f"{infinite} the answer was not finite |avg_pool" in page.text


def test_all_have_failed(tmp_path: Path) -> None:
    page = report(searched(lambda spec: float("nan"), 3), tmp_path / "page.html")
    assert "No network has a value within the limits yet" in page.text
    assert "3 networks failed" in page.text


@pytest.mark.parametrize("objectives", ["accuracy", ["accuracy", "-flops"]], ids=["one", "two"])
def test_none_one_and_unanswered(objectives: Any, tmp_path: Path) -> None:
    method = search.random_method(SPACE)
    state = search.Search(SPACE, method, objectives=objectives)
    assert "No network" in report(state.history, tmp_path / "page.html").text
    state.ask(3)
    assert "3 without an answer yet" in report(state.history, tmp_path / "page.html").text
    state.tell(2, 4.0, seconds=0.01)
    assert "the oracle took" not in report(state.history, tmp_path / "page.html").text  # a table answered
    state.tell(1, 5.0, seconds=90)
    page = report(state.history, tmp_path / "page.html")
    assert "the oracle took 1.5 min" in page.text
    assert "Best: accuracy 5" in page.text
    report([state.history, searched(objectives=objectives)], tmp_path / "page.html")


def test_what_was_expected(tmp_path: Path) -> None:
    state = search.Search(SPACE, search.random_method(SPACE))
    rng = np.random.default_rng(0)
    expected, answers = rng.normal(size=(2, 8))
    for number_, (guess, answer) in enumerate(zip(expected, answers, strict=True)):
        state.ask()
        state.history.rows[number_].predicted["accuracy"] = float(guess)
        state.tell(number_, float(answer))
    page = report(state.history, tmp_path / "page.html")
    assert f"(Spearman's rank correlation {spearmanr(expected, answers).statistic:.3f})" in page.text


def test_ten_thousand_networks(tmp_path: Path) -> None:
    state = search.Search(SPACE, search.random_method(SPACE), objectives=["accuracy", "-latency_ms"])
    state.ask()
    row, rng = state.history.rows[0], np.random.default_rng(0)
    state.history.rows[:] = [
        type(row)(row.spec, n, {"accuracy": a}, {}, {"accuracy": a + b, "latency_ms": b})
        for n, (a, b) in enumerate(rng.normal(size=(10_000, 2)))
    ]
    page = report(state.history, tmp_path / "page.html")
    assert "10,000 queries" in page.text
    assert (tmp_path / "page.html").stat().st_size < 2e6


def test_histories_that_do_not_belong_together(tmp_path: Path) -> None:
    other = searched(both, objectives="-latency_ms", queries=2)
    with pytest.raises(CgirError, match="a history of nasbench201 for -latency_ms beside one of nasbench201 for acc"):
        search.write_report([searched(queries=2), other], tmp_path / "page.html")
    with pytest.raises(CgirError, match="there is no history"):
        search.write_report([], tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("space", [SPACE, spaces.get("mnasnet"), spaces.get("nasbench_nlp")], ids=lambda s: s.name)
def test_the_code_builds_the_network(space: Space[Any]) -> None:
    spec = space.sample(np.random.default_rng(0))
    names: dict[str, Any] = {}
    exec("\n".join(build_lines(space, space.format(spec))), names)
    assert names["space"] == space
    sizes = {name: value.shape for name, value in names["module"].named_parameters()}
    assert sizes == {name: value.shape for name, value in space.module(spec).named_parameters()}


def test_code_of_the_page_exports_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    history = searched(queries=3)
    page = tmp_path / "page.html"
    history.report(page)
    code = re.search(r"<pre>(.*?)</pre>", page.read_text(encoding="utf-8"), re.DOTALL)
    assert code
    before_export = unescape(code[1]).partition("import torch")[0]
    exec(before_export, {})
    assert cgir.isomorphic(cgir.load("best.json"), SPACE.graph(history.best))


def test_places_on_a_chart() -> None:
    chart = Chart(Axis("x", 0, 10), Axis("y", -1, 1))
    corners = chart.place([0, 10, 20], [-1, 1, 5])
    assert corners[0, 0] == LEFT
    assert corners[1].tolist() == corners[2].tolist() == [WIDTH - RIGHT, TOP]
    assert corners[0, 1] < HEIGHT
    chart.steps([1, 2, 3, 4], [0, 0, 1, 1], "best")
    # flat until the third point, up there, flat to the last
    assert re.sub(r"[\d.,]+", "", chart.parts[0]) == '<path class="best" d="MHVH"/>'


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 1e6), (94.31, 94.37), (1e-9, 2e-9), (5, 5.0001)])
def test_ticks_are_few_and_round(low: float, high: float) -> None:
    ticks = Axis("", low, high).ticks()
    assert 2 <= len(ticks) <= 8
    assert low - 1e-9 <= min(ticks) <= max(ticks) <= high + 1e-9
    assert np.allclose(np.diff(ticks), ticks[1] - ticks[0], rtol=1e-3)


@pytest.mark.parametrize(
    ("found", "text"), [(94.37, "94.37"), (153e6, "153M"), (1.5e9, "1.5G"), (12_345, "12.35k"), (0, "0"), (-2e6, "-2M")]
)
def test_numbers_in_few_letters(found: float, text: str) -> None:
    assert number(found) == text
