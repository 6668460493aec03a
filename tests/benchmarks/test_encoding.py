"""The peer computes the same network: equal vectors, gradients, spectra and loss; the benchmark's tables hold together
on a few graphs.
"""

import numpy as np
import pytest
import torch

pytest.importorskip("torch_geometric")  # of the extra [bench]

import cgir
from benchmarks import encoding, pyg_pretraining
from benchmarks.pyg_encoder import PATHS, as_data, collated, gradients, peer_of
from cgir.analysis.computation_trees import node_classes
from contrastive import PretrainConfig, spectral_supcon
from encoders import Encoder, EncoderConfig, GraphTensors
from encoders.engine.batching import Engine

# PyTorch warns that PyTorch Geometric leaves matrices unchecked
pytestmark = pytest.mark.filterwarnings("ignore:Sparse")
CONFIG = EncoderConfig(width=8, layers=3)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "CONFIG", CONFIG)
    monkeypatch.setattr(encoding, "POOL", 6)
    monkeypatch.setattr(encoding, "on_threads", lambda count: None)


@pytest.mark.parametrize("engine", ["compressed", "plain"])
def test_vectors_and_gradients_are_the_peers(small: None, engine: Engine) -> None:
    # double edges in NAS-Bench-201, a graph that comes twice
    pool, chosen = encoding.mixed(), np.asarray([17, 3, 0, 9, 3])
    encoder = Encoder(CONFIG, seed=1).double()
    peer, data = peer_of(encoder).double(), as_data(pool)  # weights that float32 holds exactly
    batch = collated([data[g] for g in chosen])
    batch.x = batch.x.double()
    ours, theirs = encoder(GraphTensors(pool, CONFIG.layers, engine=engine).minibatch(chosen)), peer(batch)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    weights = torch.randn(ours.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for out in (ours, theirs):
        (out * weights).sum().backward()
    pairs = gradients(encoder, peer)
    assert len(pairs) == len(list(encoder.parameters())) == len(list(peer.parameters()))
    assert encoding.difference(pairs) < 1e-12
    pairs[0][0][0] += pairs[0][0].abs().max()
    assert encoding.difference(pairs) > 1e-3


def test_both_ways_of_the_peer_are_the_same_network(small: None) -> None:
    batch = collated(as_data(encoding.mixed()))
    one, other = (peer_of(Encoder(CONFIG, seed=1), path) for path in PATHS)  # its CSR form is for float32 alone
    torch.testing.assert_close(one(batch), other(batch), rtol=1e-5, atol=1e-6)


def test_loss_and_spectra_of_the_peers_script() -> None:
    batch = encoding.random_networks("nasbench101", 8)
    spectra = cgir.spectrum(batch)
    for graph, ours in zip(as_data(batch), spectra, strict=True):
        theirs = pyg_pretraining.spectrum(graph).numpy()
        np.testing.assert_allclose(theirs, ours[: len(theirs)], atol=1e-6)
    z = torch.nn.functional.normalize(torch.randn(8, 5, generator=torch.Generator().manual_seed(0)))
    families = torch.tensor([0, 1, 1, 0, 1, 0, 1, 1])
    theirs = pyg_pretraining.weighted_supcon(z, families, torch.from_numpy(spectra))
    torch.testing.assert_close(theirs, spectral_supcon(z, families, torch.from_numpy(spectra)), rtol=1e-5, atol=1e-5)


def test_the_peers_script_learns(small: None) -> None:
    batch, families = encoding.mixed(), np.repeat([0, 1, 2], 6)
    config = PretrainConfig.paper(steps=30, batch=16, lr=1e-2, encoder=CONFIG, projection=8)
    encoder, losses = pyg_pretraining.pretrain(batch, families, cgir.spectrum(batch), config, PATHS[0])
    assert len(losses) == config.steps
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_random_graphs_are_graphs_without_repetition() -> None:
    batch = encoding.random_graphs(5, 40)
    assert np.array_equal(batch.ptr, np.arange(6) * 40)
    assert (batch.src < batch.dst).all()
    assert np.array_equal(batch.graph_of_node[batch.src], batch.graph_of_node[batch.dst])
    assert np.all(np.diff(batch.dst) >= 0)
    assert node_classes(batch, 3)[-1].max() + 1 > 0.9 * batch.num_nodes
    assert np.isfinite(Encoder(CONFIG).embed(batch)).all()


def test_rows_of_the_tables(small: None) -> None:
    batch = encoding.mixed()
    threads, *_, worst = encoding.space_row(batch, 1, 1)
    assert threads == "1"
    assert float(worst) < 1e-5
    what, *_, faster, off = encoding.step_row("six", batch, 6, 1, 1)
    assert what == "six"
    assert float(faster) > 0
    assert float(off) < 1e-4


def test_whole_spaces_are_counted_and_embedded(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "PIECE", 4)
    found = encoding.whole(1, 9)
    assert found["graphs"] == 9
    assert found["peak"] > 50


def test_a_part_of_the_tables_does_not_replace_all(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        encoding.main(["--only", "space", "--write"])
    assert "leave out --only" in capsys.readouterr().err
