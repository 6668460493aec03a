"""The examples run as they stand, smaller where they take a size."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples import (
    choose_what_to_measure,
    explain_a_ranking,
    pretrain_an_encoder,
    rank_with_few_labels,
    score_without_training,
    select_operations,
    trace_a_model,
)


def test_trace_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace_a_model.main(tmp_path)
    assert "isomorphic: True" in capsys.readouterr().out
    assert (tmp_path / "two_blocks.html").exists()


def test_pretrain_an_encoder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pretrain_an_encoder.main(tmp_path, steps=5, networks=60)
    assert capsys.readouterr().out.count("spectral distance") == 5


def test_rank_with_few_labels(capsys: pytest.CaptureFixture[str]) -> None:
    rank_with_few_labels.main()
    by_flops, *learned = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()[:4]]
    unlabelled, labelled, hinted = learned
    assert by_flops < unlabelled < labelled < hinted


def test_choose_what_to_measure(capsys: pytest.CaptureFixture[str]) -> None:
    choose_what_to_measure.main(networks=200)
    lines = capsys.readouterr().out.splitlines()
    assert len({line.split("  ")[-1] for line in lines if "MMAC" in line}) == 8
    median, nearest = float(lines[1].split("median ")[1].split(",")[0]), float(lines[-1].split()[-2])
    assert nearest > 0.6 * median


def test_explain_a_ranking(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    explain_a_ranking.main(str(tmp_path), labels=60, epochs=15)
    lines = capsys.readouterr().out.splitlines()
    assert float(lines[0].split()[-1]) > 0.3
    assert sum("occlusion" in line for line in lines) == sum("carl masks" in line for line in lines) == 2
    drawings = {path.name: path.read_text() for path in tmp_path.glob("*.svg")}
    assert set(drawings) == {f"{name}_{method}.svg" for name in ("best", "worst") for method in ("masks", "occlusion")}
    assert all(text.count("<svg") == 1 and "Output" in text for text in drawings.values())


def test_score_without_training(capsys: pytest.CaptureFixture[str]) -> None:
    score_without_training.main(networks=20, batch=16)
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(score_without_training.NAMES)
    assert float(lines[-2].split()[1]) > 0.3  # FLOPs, the proxy to beat


def test_select_operations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    select_operations.main(tmp_path, steps=4)
    lines = capsys.readouterr().out.splitlines()
    selected = [line.split() for line in lines[1 : 1 + len(select_operations.RULES)]]
    assert [words[0] for words in selected] == list(select_operations.RULES)
    assert all(words[-1].count("~") == 6 and "none" not in words[-1] for words in selected)
    assert len(list(tmp_path.glob("selected_*.svg"))) == len(selected)
