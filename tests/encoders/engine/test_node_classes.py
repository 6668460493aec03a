"""The compressed and the plain engine give the same vectors and gradients, on a CPU and on a GPU."""

import numpy as np
import pytest
import torch
from cgir_samples import random_graph
from encoders_samples import random_cnns
from hypothesis import given, settings
from hypothesis import strategies as st
from space_checks import NAMES, small

from encoders.engine import streaming as streaming
from encoders.engine.batching import GraphTensors
from encoders.models.conv_layers import LAYERS
from encoders.models.encoder import Encoder, EncoderConfig
from encoders.models.norms import NORMS
from encoders.models.pooling import POOLS

GRAPHS = random_cnns(12)

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def outcome(config, graphs, engine, dtype=torch.float64, device="cpu"):
    """One training step's embedding, gradients as one vector, and running statistics."""
    encoder = Encoder(config, seed=1).to(device, dtype).train()
    out = encoder(GraphTensors(graphs, config.layers, engine).minibatch(range(len(graphs))).to(device))
    weights = torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(out)
    gradients = torch.autograd.grad((out * weights).sum(), list(encoder.parameters()))
    vectors = [out.detach(), torch.cat([g.flatten() for g in gradients])]
    return [v.double().cpu() for v in [*vectors, *(b for b in encoder.buffers() if b.dim())]]


def distance(found, expected):
    return max(float((a - b).norm() / b.norm()) for a, b in zip(found, expected, strict=True))


def configs(seed):
    """Some layer, norm and pool."""
    rng = np.random.default_rng(seed)
    layer, norm, pool = (list(table)[rng.integers(len(table))] for table in (LAYERS, NORMS, POOLS))
    return EncoderConfig(width=8, layers=int(rng.integers(1, 6)), layer=layer, norm=norm, pool=pool)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), sizes=st.lists(st.integers(1, 30), min_size=1, max_size=5))
def test_engines_agree_on_random_graphs(seed, sizes):
    rng, config = np.random.default_rng(seed), configs(seed)
    graphs = [random_graph(rng, size) for size in sizes]
    graphs += [graphs[0]]
    assert distance(outcome(config, graphs, "compressed"), outcome(config, graphs, "plain")) < 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_engines_agree_on_every_space(name):
    space, rng = small(name), np.random.default_rng(8)
    batch = space.graphs([space.sample(rng) for _ in range(6)])
    for layer in LAYERS:
        config = EncoderConfig(
            width=8, layers=4, layer=layer, norm=list(NORMS)[rng.integers(2)], pool=list(POOLS)[rng.integers(4)]
        )
        assert distance(outcome(config, batch, "compressed"), outcome(config, batch, "plain")) < 1e-12
        found, expected = (outcome(config, batch, engine, torch.float32) for engine in ("compressed", "plain"))
        gradients = [vectors.pop(1) for vectors in (found, expected)]
        assert distance(found, expected) < 1e-5
        # as near as that in test_encoders_layers; among a million activations one may be so near zero that rounding
        # decides whether ReLU passes it
        assert distance(gradients[:1], gradients[1:]) < 1e-2


def test_classes_are_fewer_than_nodes_and_stand_for_all_of_them():
    graphs = GraphTensors(GRAPHS * 2, 4, "compressed")
    batch = graphs.minibatch(range(len(graphs)))
    for direction in (batch.forward_stream, batch.backward_stream):
        sizes = [len(block) for block in direction.blocks]
        assert sizes == sorted(sizes)
        assert sizes[-1] <= graphs.batch.num_nodes // 2
        assert all(int(block.multiplicity.sum()) == graphs.batch.num_nodes for block in direction.blocks)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("layer", LAYERS)
def test_autocast_changes_digits_only(layer, norm):
    encoder = Encoder(EncoderConfig(width=32, layers=3, layer=layer, norm=norm), seed=3)
    batch = GraphTensors(GRAPHS, 3).minibatch(range(len(GRAPHS)))
    exact = encoder(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = encoder(batch)
    rough.float().square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters() if p.grad is not None)
    assert float((rough.float() - exact).detach().norm() / exact.detach().norm()) < 0.03


@CUDA
@pytest.mark.parametrize("engine", ["plain", "compressed"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("layer", LAYERS)
def test_cuda_gives_the_same(layer, pool, norm, engine):
    config = EncoderConfig(width=16, layers=3, layer=layer, norm=norm, pool=pool)
    expected = outcome(config, GRAPHS, engine)
    assert distance(outcome(config, GRAPHS, engine, device="cuda"), expected) < 1e-12
    assert distance(outcome(config, GRAPHS, engine, torch.float32, "cuda"), expected) < 1e-4


@CUDA
def test_embeddings_and_autocast_on_cuda():
    encoder = Encoder(EncoderConfig(width=16, layers=3), seed=4)
    expected = encoder.embed(GRAPHS)
    encoder.cuda()
    np.testing.assert_allclose(encoder.embed(GRAPHS), expected, atol=1e-5)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        rough = encoder(GraphTensors(GRAPHS, 3).minibatch(range(len(GRAPHS))).to("cuda"))
    rough.float().square().mean().backward()
    assert np.linalg.norm(rough.float().detach().cpu() - expected) < 0.03 * np.linalg.norm(expected)
