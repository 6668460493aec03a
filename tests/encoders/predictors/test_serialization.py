"""Predictors on disk: files of format 1 predict as they did when they were written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cgir.errors import FileFormatError
from cgir.graph_batch import GraphBatch
from encoders import Predictor
from encoders.models.checkpoints import read_tensors, write_tensors
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


ARRAYS = ("gp.", "gnn.calibration", "context.", "sample.", "ensemble.source.scaler", "ensemble.source.0.moments")
ANY_IDS = ("subtree_ids", "family_index")  # any number is one


@pytest.mark.parametrize("name", ["gp", "blend_fitted"])
def test_arrays_that_do_not_fit_are_one_error(name: str, tmp_path: Path) -> None:
    """Found when the file is read, and never followed: the rows of a sparse matrix may point out of memory."""
    Predictor.load(FORMAT_1 / name).save(tmp_path)
    path = tmp_path / "predictor.safetensors"
    tensors, meta = read_tensors(path, "predictor")
    read = [key for key in tensors if key.startswith(ARRAYS) and tensors[key].numel()]
    assert len(read) > 12
    for key in read:
        values = tensors[key].reshape(-1)
        for damaged in (torch.cat([values, values[:1]]), values[:0], tensors[key][None], tensors[key].bool()):
            if key.endswith("subtree_ids") and damaged.ndim == 1 and len(damaged) > len(values):
                continue  # one more subtree, which no labelled graph has
            write_tensors(path, "predictor", {**tensors, key: damaged}, meta)
            with pytest.raises(FileFormatError, match="do not fit together"):
                Predictor.load(tmp_path)
        wrong = torch.nan if values.is_floating_point() else 10**6
        write_tensors(path, "predictor", {**tensors, key: torch.full_like(tensors[key], wrong)}, meta)
        if not key.endswith(ANY_IDS):
            with pytest.raises(FileFormatError, match="do not fit together"):
                Predictor.load(tmp_path)


def test_descriptions_that_do_not_fit_are_one_error(tmp_path: Path) -> None:
    Predictor.load(FORMAT_1 / "blend_fitted").save(tmp_path)
    path = tmp_path / "predictor.safetensors"
    tensors, meta = read_tensors(path, "predictor")
    blend = meta["blend"]
    for damaged in ({"task": "colour"}, {"blend": {**blend, "rbf_rate": "x"}}, {"blend": {**blend, "rbf_rate": None}}):
        write_tensors(path, "predictor", tensors, {**meta, **damaged})
        with pytest.raises(FileFormatError, match="do not fit together"):
            Predictor.load(tmp_path)
