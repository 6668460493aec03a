"""The README's Python runs as printed (with fewer pretraining steps), and what it shows of a graph is what comes out."""

from __future__ import annotations

import re
from pathlib import Path

import keras
import pytest

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_examples_run(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    keras.utils.clear_session()  # names of layers are numbered on from those of other tests
    code, shown = EXAMPLES[number]
    exec(compile(code.replace("steps=300", "steps=5"), "README.md", "exec"), {})
    printed = capsys.readouterr().out
    if "steps=300" in code:  # fewer steps, other scores
        printed, shown = (re.sub(r"\d\.\d+", "#", text) for text in (printed, shown))
    assert printed == shown


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 3
