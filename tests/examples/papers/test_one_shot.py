"""The experiment on selection rules: what is trained, what is compared, and what its tables say."""

from __future__ import annotations

import os
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest
from one_shot_samples import digits

from examples.papers import one_shot
from examples.papers.one_shot_jobs import SCHEDULES, Job, jobs
from examples.papers.one_shot_judges import Verdict
from examples.papers.one_shot_methods import METHODS, PARTIAL, methods
from examples.papers.one_shot_table import tables
from frontends import spaces
from search.one_shot import supernet, train

needs_tables = pytest.mark.skipif("CGIR_DATA" not in os.environ, reason="needs the label tables: set CGIR_DATA")


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_job_is_a_supernet_with_files_of_its_own(schedule: str) -> None:
    found = list(jobs(schedule))
    assert len({job.name for job in found}) == len(found) == 5 * (4 + 3)
    job = next(job for job in found if job.partial > 1)
    assert job.supernet().space.image == (3, SCHEDULES[schedule].pixels, SCHEDULES[schedule].pixels)
    assert methods(job) == PARTIAL
    assert set(methods(found[0])) == set(METHODS)


def test_along_a_training_skips_are_counted_and_cells_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = []

    def judge(space: Any, spec: Any) -> Verdict:
        judged.append(spec)
        return Verdict(90.0, True)

    monkeypatch.setattr(one_shot, "judge", judge)
    network = supernet("nasbench201", channels=2, cells=1, image=(1, 8, 8))
    trained = train(network, *digits(16).split(), steps=2, batch=4, alpha_lr=0.1, progress=False, device="cpu")
    found = one_shot.trajectory(trained)
    assert [row["step"] for row in found] == [1, 2]
    assert [row["skips"] for row in found] == [spec.count("skip_connect") / 6 for spec in judged]
    largest = trained.mixture.view(6, 5).argmax(1).tolist()
    assert judged[-1] == tuple(network.choices[0].options[option] for option in largest)


def test_a_rule_that_selects_nothing_is_kept_with_its_reason(tmp_path: Path) -> None:
    def refuses(setting: Any) -> Any:
        raise one_shot.CgirError("no")

    assert one_shot._row(refuses, None) == {"error": "no"}  # type: ignore[arg-type]


@needs_tables
def test_tables_have_means_over_the_seeds_that_selected(tmp_path: Path) -> None:
    accuracies = [90.0, 92.0, 94.0]
    history = [{"step": step, "valid_accuracy": 50.0, "accuracy": 80.0, "skips": 0.5} for step in range(1, 11)]
    rows = {
        Job("NAS-Bench-201", 1, seed, "small"): {
            "history": history,
            "argmax": {"spec": "", "seconds": 1.0, "accuracy": accuracy, "measured": True},
            "influence": {"error": "no"},
        }
        for seed, accuracy in enumerate(accuracies)
    }
    selected, along = tables(rows)
    lines = {row[0]: row for row in selected.rows}
    assert lines["argmax"][1:4] == (f"{mean(accuracies):.2f} ± {stdev(accuracies):.2f}", "90.00 92.00 94.00", "1.0")
    assert "influence" not in lines
    space = spaces.get("nasbench201")
    convolutions = one_shot.judge(space, ("nor_conv_3x3",) * 6)
    assert lines["*all 3x3 convolutions*"][1] == f"{convolutions.accuracy:.2f}" == "93.76"
    assert along.columns[1] == "1"
    assert along.rows[1][1] == "50 ± 0"
