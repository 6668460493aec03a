"""`cgir pretrain`, and what `cgir finetune` and `cgir predict` make of its encoder."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from encoders_samples import random_cnns

import cgir
from cgir.cli.main import main


def test_from_stores_to_a_ranking(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """pretrain -> finetune -> predict, on two families whose label is their number of parameters."""
    for name, seed in (("target", 0), ("source", 1)):
        graphs = random_cnns(40, seed)
        specs = [f"{name}-{i}" for i in range(40)]
        cgir.GraphStore.write(
            tmp_path / f"{name}.parquet",
            graphs,
            family=name,
            specs=specs,
            labels={"acc": [g.num_params for g in graphs]},
        )
    target, source, encoder, predictor = (
        str(tmp_path / part) for part in ("target.parquet", "source.parquet", "encoder", "predictor")
    )
    cgir.GraphStore.write(other := str(tmp_path / "other.parquet"), random_cnns(2), labels={"error": [0.0, 1.0]})
    assert main(["pretrain", target, source, "-o", encoder, "--steps", "3", "--batch", "16"]) == 0
    assert (
        main(
            [
                "finetune",
                target,
                "--label",
                "acc",
                "--encoder",
                encoder,
                "--sources",
                source,
                "--limit",
                "15",
                "-o",
                predictor,
            ]
        )
        == 0
    )
    capsys.readouterr()
    assert main(["predict", target, "--predictor", predictor, "--top", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5  # a title, a header
    rank, _, spread, name = lines[2].split()
    assert (rank, name.startswith("target-")) == ("1", True)
    assert float(spread) > 0
    store = cgir.GraphStore.open(target)
    assert store.labels["acc"][store.specs.index(name)] > np.median(store.labels["acc"])
    assert (
        main(
            [
                "finetune",
                target,
                "--label",
                "acc",
                "--encoder",
                "none",
                "--head",
                "carl",
                "--limit",
                "15",
                "-o",
                predictor,
            ]
        )
        == 0
    )
    capsys.readouterr()
    assert main(["predict", target, "--predictor", predictor, "--top", "3"]) == 0
    # one network has no spread
    assert [len(line.split()) for line in capsys.readouterr().out.splitlines()[1:]] == [3, 3, 3, 3]
    for words in ([target, "--label", "loss"], [target, "--label", "acc", "--sources", other]):
        assert main(["finetune", *words, "--encoder", "none", "-o", predictor]) == 2
        assert re.search(r"no label '(loss|acc)'; .* (acc|error)$", capsys.readouterr().err)


def test_options_change_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import contrastive

    cgir.GraphStore.write(store := str(tmp_path / "s.parquet"), random_cnns(8))
    asked = []
    monkeypatch.setattr(contrastive, "pretrain", lambda store, config, **options: asked.append(config))
    words = ["pretrain", store, "-o", str(tmp_path / "run")]
    assert main(words) == main([*words, "--recipe", "paper", "--property-weight", "2", "--held-out", "0.1"]) == 0
    assert asked[0] == contrastive.PretrainConfig()
    assert asked[1] == contrastive.PretrainConfig.paper(property_weight=2.0, held_out=0.1)


def test_without_tensorboard_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    words = ["pretrain", str(tmp_path), "-o", str(tmp_path / "run"), "--tensorboard", str(tmp_path / "curves")]
    assert main(words) == 2
    found = capsys.readouterr().err
    assert found == (
        "cgir: tensorboard: it is not installed; try pip install 'cgir[tensorboard]', or give a callback of yours\n"
    )
    assert list(tmp_path.iterdir()) == []
