"""Predictors on disk: files that were damaged, or whose parts do not fit together, are one error."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from encoders_samples import conv_share, random_cnns

from cgir.errors import FileFormatError
from encoders import Encoder, EncoderConfig, Predictor, TrainConfig, compute_features
from encoders.models import checkpoints
from encoders.models.checkpoints import read_tensors, write_tensors
from encoders.predictors.blend_config import BlendConfig
from encoders.predictors.estimators_blend import BlendEstimator
from encoders.predictors.gnn_member import GnnMember

GRAPHS = random_cnns(40)
LABELS = conv_share(GRAPHS)
NETWORKS = re.compile(r"^encoder\.|\.net\.")  # weights, whose shapes their modules check
ANY_IDS = ("subtree_ids", "family_index")  # any number is one


def gp() -> Predictor:
    return Predictor(Encoder(EncoderConfig(width=8, layers=1)), head="gp").fit(GRAPHS[:8], LABELS[:8])


def blend() -> Predictor:
    """With all that one can have: sources, hints, two candidates, and networks trained from scratch."""
    predictor = Predictor()
    assert isinstance(predictor.estimator, BlendEstimator)
    config = BlendConfig(gnn_min_labels=2, gnn_members=1, gnn_train=TrainConfig(epochs=1, batch=100))
    predictor.estimator.config = config
    predictor.fit_sources([(GRAPHS[rows], LABELS[rows]) for rows in (slice(6), slice(6, 12), slice(12, 20))])
    # both candidates explain labels that follow nothing
    labels = np.random.default_rng(0).normal(size=9)
    predictor.fit(GRAPHS[20:29], labels, pool=GRAPHS[20:], hints={"h": (GRAPHS[25:], LABELS[25:])})
    estimator = predictor.estimator
    assert isinstance(estimator, BlendEstimator)
    features = compute_features(GRAPHS[20:29], None)
    assert estimator.gp is not None
    assert len(estimator.gp.average.processes) > 1
    estimator.gnn_member = GnnMember.fit(features, labels, features, labels, 0, config)
    return predictor


MAKERS: dict[str, Callable[[], Predictor]] = {"gp": gp, "blend": blend}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("head", ["gp", "rank"])
def test_predictors_of_earlier_formats_are_refused_in_one_line(
    version: int, head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "VERSION", version)
    Predictor(head=head, train=TrainConfig(epochs=1)).fit(GRAPHS[:8], LABELS[:8]).save(tmp_path)
    monkeypatch.undo()
    message = f"a predictor of format {version}, this cgir reads format {checkpoints.VERSION}; fit and save it again"
    with pytest.raises(FileFormatError, match=message) as error:
        Predictor.load(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", MAKERS)
def test_arrays_that_do_not_fit_are_one_error(name: str, tmp_path: Path) -> None:
    """Found when the file is read, and never followed: the rows of a sparse matrix may point out of memory."""
    MAKERS[name]().save(tmp_path)
    path = tmp_path / "predictor.safetensors"
    tensors, meta = read_tensors(path, "predictor")
    read = [key for key in tensors if not NETWORKS.search(key) and tensors[key].numel()]
    assert len(read) > (15 if name == "gp" else 50)
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
    MAKERS["blend"]().save(tmp_path)
    path = tmp_path / "predictor.safetensors"
    tensors, meta = read_tensors(path, "predictor")
    blend = meta["blend"]
    for damaged in (
        {"task": "colour"},
        {"tasks": []},
        {"tasks": "accuracy"},
        {"wants_gnn": 1},
        {"blend": {**blend, "rbf_rate": "x"}},
        {"blend": {**blend, "rbf_rate": None}},
        {"blend": {**blend, "weights_of_sizes": [1, 2, 3]}},
        {"blend": {**blend, "kernel_prior": [1, 2, 3, "4"]}},
        {"blend": {**blend, "more": 1}},
        {"blend": {key: value for key, value in blend.items() if key != "label_bins"}},
    ):
        write_tensors(path, "predictor", tensors, {**meta, **damaged})
        with pytest.raises(FileFormatError, match="do not fit together"):
            Predictor.load(tmp_path)
