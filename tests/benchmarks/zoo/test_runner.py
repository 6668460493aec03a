"""The runner of corpora: it resumes, keeps failures with their message, knows listed exceptions by pattern and column,
and stops what hangs.
"""

from __future__ import annotations

import json
import sys
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

import benchmarks.zoo.__main__ as zoo
from benchmarks.report import Table
from benchmarks.zoo import runner

FOLDER = Path(__file__).resolve().parents[3] / "benchmarks" / "zoo"


class Sample(ModuleType):
    """A corpus with one case of every outcome."""

    COLUMNS = ("traces", "exact")
    EXCEPTIONS: Mapping[str, str] = {"listed*: exact": "for a reason", "gone": "never built"}

    def cases(self) -> list[str]:
        return ["good", "wrong", "listed one", "not applicable", "gone", "broken", "hangs"]

    def check(self, case: str) -> dict[str, bool | str | None]:
        if case in ("gone", "broken"):
            raise ValueError(f"{case}\nindeed")
        while case == "hangs":
            time.sleep(0.01)
        return {"traces": True, "exact": {"good": True, "not applicable": None}.get(case, "2 is not 3")}


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> list[runner.Outcome]:
    monkeypatch.setitem(sys.modules, "benchmarks.zoo.sample", Sample("sample"))
    monkeypatch.setattr(runner, "LIMIT", 1)
    return [runner.outcome_of("sample", case) for case in Sample("sample").cases()]


def test_an_outcome_says_what_holds_and_why_not(outcomes: list[runner.Outcome]) -> None:
    found = {outcome["case"]: (outcome["holds"], outcome["message"]) for outcome in outcomes}
    assert found["good"] == ({"traces": True, "exact": True}, "")
    assert found["wrong"] == ({"traces": True, "exact": "2 is not 3"}, "exact: 2 is not 3")
    assert found["broken"] == ({"traces": False}, "ValueError: broken indeed")
    assert found["hangs"] == ({"traces": False}, "TimeoutError: no result after 1 s")


def test_only_failures_without_a_listed_reason_are_unexplained(outcomes: list[runner.Outcome]) -> None:
    assert [line.split(": ")[1] for line in runner.unexplained("sample", outcomes)] == ["wrong", "broken", "hangs"]


def test_the_table_counts_what_holds_among_what_applies(outcomes: list[runner.Outcome]) -> None:
    counts, exceptions = runner.tables("sample", outcomes)
    assert counts.rows == (("sample", "traces", "4 of 7"), ("sample", "exact", "1 of 3"))
    assert ("sample", "exact", "1", "listed one", "for a reason") in exceptions.rows


def test_an_interrupted_run_resumes(tmp_path: Path) -> None:
    """Real workers; the first two cases are there already, and the third one's line was cut off."""
    cases = runner.load("keras_applications").cases()[:3]
    kept = [{"case": case, "holds": {"traces": True}, "message": "kept", "seconds": 1.0} for case in cases]
    lines = [json.dumps(outcome) for outcome in kept]
    (tmp_path / "keras_applications.jsonl").write_text("\n".join([*lines[:2], lines[2][:20]]) + "\n")
    outcomes = runner.run("keras_applications", tmp_path, jobs=1, limit=2)
    assert outcomes == kept[:2]
    again = list(runner._read(tmp_path / "keras_applications.jsonl"))
    assert again == kept[:2]


def test_a_library_that_is_missing_is_an_error_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sample = Sample("sample")
    monkeypatch.setattr(sample, "REQUIRES", ("numpy", "no-such-library"), raising=False)
    monkeypatch.setitem(sys.modules, "benchmarks.zoo.sample", sample)
    assert runner.not_installed("sample") == ["no-such-library"]
    assert runner.not_installed("keras_applications") == []
    monkeypatch.setattr(zoo, "CORPORA", ("sample",))
    monkeypatch.setattr(sys, "argv", ["zoo", "--runs", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        zoo.main()
    assert stop.value.code == 2
    assert "not installed: no-such-library; `make zoo` installs what the corpora need" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_command_knows_all_corpora() -> None:
    assert set(zoo.CORPORA) == {path.stem for path in FOLDER.glob("*.py") if "def cases()" in path.read_text()}


def test_all_libraries_of_the_corpora_are_installed_by_make_zoo() -> None:
    root = FOLDER.parents[1]
    extra = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]["corpora"]
    named = {line.partition(">")[0].replace("_", "-") for line in extra}
    installed = named | set(
        (root / "Makefile").read_text().partition("$(VENV)/corpora:")[2].partition("touch")[0].split()
    )
    pinned = {line.partition("==")[0] for line in (root / "constraints.txt").read_text().splitlines()}
    needed = {library for name in zoo.CORPORA for library in getattr(runner.load(name), "REQUIRES", ())}
    assert {library.replace("_", "-") for library in needed} <= installed & {name.replace("_", "-") for name in pinned}


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py") if "def cases()" in path.read_text()))
def test_corpora_name_their_cases_once_and_their_exceptions_well(name: str) -> None:
    corpus = runner.load(name)
    cases = corpus.cases()
    assert len(cases) == len(set(cases)) > 10
    for pattern in corpus.EXCEPTIONS:
        target, _, column = pattern.partition(": ")
        assert column in ("", *corpus.COLUMNS)
        assert any(runner.fnmatchcase(case, target) for case in cases), f"{name}: no case matches {pattern!r}"


def test_corpora_that_were_not_run_keep_their_rows(tmp_path: Path) -> None:
    columns = ("corpus", "property", "networks")
    old = [["torch_models", "traces", "7 of 9"], ["exporters", "torch.export", "5 of 5"]]
    path = tmp_path / "zoo.json"
    path.write_text(json.dumps({"tables": [{"caption": "what holds", "columns": columns, "rows": old}]}))
    new = Table("what holds", columns, (("onnx_backend", "traces", "2 of 2"), ("torch_models", "traces", "9 of 9")))
    rows = zoo._with_earlier(new, ["torch_models", "onnx_backend"], path).rows
    assert rows == (new.rows[1], tuple(old[1]), new.rows[0])
    assert zoo._with_earlier(new, ["torch_models"], tmp_path / "none.json").rows == (new.rows[1], new.rows[0])
