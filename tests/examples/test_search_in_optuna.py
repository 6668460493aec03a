"""A history as a study of Optuna: the same trials, the same best ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

import search
from examples import search_in_optuna
from frontends import spaces

SPACE = spaces.get("nasbench201", cells=1, channels=4)


def oracle(spec: Any) -> dict[str, float]:
    if spec[0] == "none":
        raise RuntimeError("no luck")
    return {
        "accuracy": float(sum((n + 1) * ("conv" in op) for n, op in enumerate(spec))),
        "latency_ms": 1.0 + sum("3x3" in op for op in spec),
    }


@pytest.mark.parametrize("objectives", [["accuracy"], ["-latency_ms"], ["accuracy", "-latency_ms", "-flops"]], ids=len)
def test_a_study_has_the_trials_of_the_history(objectives: list[str], tmp_path: Path) -> None:
    history = search.random_search(SPACE, None, oracle, 20, objectives=objectives, progress=False)
    search_in_optuna.to_optuna(history, f"sqlite:///{tmp_path / 'study.db'}", "found")
    study = optuna.load_study(study_name="found", storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert [trial.user_attrs["spec"] for trial in study.trials] == history.spec_strings
    failed = [trial.state == optuna.trial.TrialState.FAIL for trial in study.trials]
    assert failed == [error is not None for error in history.errors]
    assert any(failed)
    for trial, expected in zip(study.trials, history.objective_values.tolist(), strict=True):
        assert trial.values == (None if np.isnan(expected).any() else expected)
    if len(objectives) == 1:
        assert study.best_value == history.best_value
        assert study.best_trial.user_attrs["spec"] in {
            text for text, v in zip(history.spec_strings, history.values, strict=True) if v == history.best_value
        }
    else:
        # Optuna keeps all of equal points, a front the first
        ours = {tuple(history.objective_values[row]) for row in history.front()}
        assert {tuple(trial.values) for trial in study.best_trials} == ours


def test_what_awaits_an_answer_is_no_trial() -> None:
    state = search.Search(SPACE, search.random_method(SPACE))
    state.ask(3)
    state.tell(2, 1.5)
    study = search_in_optuna.to_optuna(state.history)
    assert [trial.value for trial in study.trials] == [1.5]


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    study = search_in_optuna.main(queries=15)
    assert capsys.readouterr().out.startswith(f"15 trials, {len(study.best_trials)} of them on the front")
