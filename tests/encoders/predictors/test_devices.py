"""Predictors train and predict on a second device as on the CPU, and what they save does not depend on it."""

import numpy as np
import pytest
import torch
from encoders_samples import conv_share, random_cnns
from safetensors.torch import load_file
from second_device import SecondTensor, WrongDevice, second_device

from cgir.errors import CgirError
from encoders import Encoder, EncoderConfig, Predictor, SiblingConfig, TrainConfig, compute_features
from encoders.predictors.ensemble import Vectors
from encoders.predictors.stored_embeddings import embed_store
from encoders.training.loop import optimise

GRAPHS = random_cnns(12)
LABELS = conv_share(GRAPHS)
SMALL = EncoderConfig(width=8, layers=2)
TRAIN = TrainConfig(epochs=3, source_steps=3, hidden=8, batch=6)
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
CASES = {
    "head on vectors": (Encoder(SMALL), {"head": "rank", "frozen": True, "ensemble": 2}),
    "regression": (SMALL, {"head": "mse"}),
    "carl": (SMALL, {"head": "carl"}),
    "siblings": (SiblingConfig(width=8, layers=2), {"head": "listmle"}),
    "fine-tuned": (Encoder(SMALL), {"head": "logistic"}),
}


def fitted(encoder, options, device):
    predictor = Predictor(encoder, train=TRAIN, device=device, **options)
    return predictor.fit_sources([(GRAPHS[:6], LABELS[:6])]).fit(GRAPHS, LABELS)


@pytest.mark.parametrize(("encoder", "options"), CASES.values(), ids=list(CASES))
def test_fits_and_predictions_on_a_second_device_are_those_of_the_cpu(tmp_path, monkeypatch, encoder, options):
    expected = fitted(encoder, options, "cpu").predict(GRAPHS)
    with second_device(monkeypatch):
        predictor = fitted(encoder, options, "meta")
        found = predictor.predict(GRAPHS)
        predictor.save(tmp_path)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert {tensor.device.type for tensor in load_file(tmp_path / "predictor.safetensors").values()} == {"cpu"}
    np.testing.assert_allclose(Predictor.load(tmp_path, device="cpu").predict(GRAPHS), expected, rtol=1e-4, atol=1e-4)
    nets = [member.net for member in predictor.estimator.ensemble.members]
    assert not any(isinstance(tensor, SecondTensor) for net in nets for tensor in net.parameters())


def test_steps_of_a_head_compute_on_its_device_alone(monkeypatch):
    """And vectors that were left on the CPU are noticed."""
    features, on_cpu = compute_features(GRAPHS, Encoder(SMALL), "cpu"), []
    start = optimise

    def watched(*args):
        del on_cpu[:]
        start(*args)
        assert on_cpu == []

    monkeypatch.setattr("encoders.predictors.ensemble.optimise", watched)
    with second_device(monkeypatch, on_cpu):
        fitted(*CASES["head on vectors"], "meta").predict(features)
        monkeypatch.setattr(Vectors, "minibatch", lambda self, rows, device: self.values.cpu()[torch.from_numpy(rows)])
        with pytest.raises(WrongDevice):
            fitted(*CASES["head on vectors"], "meta")


def test_features_follow_the_predictor():
    """Those that were computed for another device keep what they have."""
    features = compute_features(GRAPHS, Encoder(SMALL), "cpu")
    assert features.on(torch.device("cpu")) is features
    there = features.on(torch.device("meta"))
    assert there.device == torch.device("meta")
    assert there.embedding is features.embedding
    assert there.select(np.arange(2)).device == type(there).concatenate([there, there]).device == there.device


def test_a_device_that_is_not_there_is_refused_at_once(tmp_path):
    Predictor(head="gp").fit(GRAPHS, LABELS).save(tmp_path)
    for call in (
        lambda device: Predictor(device=device),
        lambda device: Predictor.load(tmp_path, device=device),
        lambda device: compute_features(GRAPHS, None, device),
        lambda device: embed_store("universal", tmp_path, tmp_path, device=device),
    ):
        with pytest.raises(CgirError, match="device='cuda:99'"):
            call("cuda:99")


@CUDA
@pytest.mark.parametrize(("encoder", "options"), CASES.values(), ids=list(CASES))
def test_predictions_on_a_gpu_are_those_of_the_cpu(tmp_path, encoder, options):
    """Of one fit to five digits; whole fits, whose dropout differs, to what seeds change."""
    here = fitted(encoder, options, "cpu")
    here.save(tmp_path)
    expected, found = here.predict(GRAPHS), Predictor.load(tmp_path, device="cuda").predict(GRAPHS)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert np.isfinite(fitted(encoder, options, "cuda").predict(GRAPHS)).all()
