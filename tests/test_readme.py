"""The README's Python runs as printed, with fewer pretraining steps; CONTRIBUTING's search space is one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from space_checks import check_traces

import cgir
from cgir.graph_batch import GraphBatch

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_examples_run(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    keras.utils.clear_session()  # names of layers are numbered on from those of other tests
    code, shown = EXAMPLES[number]
    exec(compile(code.replace("steps=300", "steps=5"), "README.md", "exec"), {})
    printed = capsys.readouterr().out
    if "steps=300" in code:  # fewer steps, other scores
        printed, shown = (re.sub(r"\d\.\d+", "#", text) for text in (printed, shown))
    assert printed == shown


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 9


def test_the_search_space_in_contributing_keeps_the_promises_of_a_space() -> None:
    code = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(code) == 1
    names: dict[str, Any] = {"__name__": "plainnet"}
    # as in a module without __future__ imports
    exec(compile(code[0], "CONTRIBUTING.md", "exec", dont_inherit=True), names)
    space = names["PlainNet"](channels=4)
    specs = list(space.enumerate())
    assert len(set(specs)) == 64
    assert [space.parse(space.format(spec)) for spec in specs] == specs
    batch, packed = space.graphs(specs), GraphBatch.from_graphs(map(space.graph, specs))
    assert batch.kinds == packed.kinds
    assert all(np.array_equal(getattr(batch, field), getattr(packed, field)) for field in ("kind", "src", "dst", "ptr"))
    check_traces(space, 10, seed=0)
    assert all(space.mutate(spec, np.random.default_rng(0)) in set(specs) - {spec} for spec in specs)
    with pytest.raises(cgir.SpecError, match="depth 1 of '2 9 1' is '9'"):
        space.parse("2 9 1")
