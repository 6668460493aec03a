"""`cgir embed`: a data set as vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import encoders
from cgir import GraphStore
from cgir.cli.main import main


def test_a_sample_becomes_vectors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pool, vectors = str(tmp_path / "pool"), str(tmp_path / "vectors")
    assert main(["space", "nasbench201", "--sample", "6", "-o", pool]) == 0
    assert main(["embed", pool, "-o", vectors]) == 0
    encoder = encoders.load_pretrained()
    assert f"vectors: 6 vectors of {encoder.dim} numbers in " in capsys.readouterr().out
    np.testing.assert_array_equal(
        encoders.StoredEmbeddings(vectors).array(), encoder.embed(GraphStore.open(pool), progress=False)
    )
    encoders.save_encoder(encoders.Encoder(), tmp_path / "e")
    assert main(["embed", pool, "-o", vectors, "--encoder", str(tmp_path / "e")]) == 2
    assert "has a data set of 6 already" in capsys.readouterr().err
    assert main(["embed", pool, "-o", vectors, "--encoder", str(tmp_path / "e"), "--overwrite"]) == 0
    assert encoders.StoredEmbeddings(vectors).dim == encoders.Encoder().dim


def test_complaints_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", str(tmp_path / "none"), "-o", str(tmp_path / "v")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "v").exists()
