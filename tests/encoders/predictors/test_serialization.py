"""Predictors on disk: files of format 1 predict as they did when they were written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cgir.graph_batch import GraphBatch
from encoders import Predictor
from frontends import tables

FORMAT_1 = Path(__file__).parents[2] / "data" / "format_1"
NAMES = sorted(path.name for path in FORMAT_1.iterdir() if (path / "predictor.safetensors").exists())


@pytest.fixture(scope="module")
def graphs() -> GraphBatch:
    family = tables.load("digits").family("nasbench201")
    assert family.space is not None
    return family.space.graphs(family.specs[:24])


def test_there_is_a_file_of_every_kind() -> None:
    assert NAMES == ["blend", "blend_alone", "blend_fitted", "carl", "frozen", "gp", "mse", "rank", "sibling"]


@pytest.mark.parametrize("name", NAMES)
def test_old_predictors_predict_as_they_did(name: str, graphs: GraphBatch, tmp_path: Path) -> None:
    predictor = Predictor.load(FORMAT_1 / name)
    expected = np.load(FORMAT_1 / "expected.npz")[name]
    np.testing.assert_allclose(predictor.predict(graphs), expected, rtol=0, atol=1e-5 * expected.std())
    predictor.save(tmp_path)
    np.testing.assert_array_equal(Predictor.load(tmp_path).predict(graphs), predictor.predict(graphs))
