"""What an encoder promises whatever its layers (`test_conv_layers`) and its engine (`test_node_classes`) are."""

import numpy as np
import pytest
import torch
from encoders_samples import random_cnns

from cgir.errors import CgirError, InvalidGraphError
from cgir.graph import Graph
from cgir.graph_batch import GraphBatch
from encoders.models.encoder import Encoder, EncoderConfig

GRAPHS = random_cnns(12)


def test_direction_matters():
    """Reversing every edge exchanges the streams: with equal weights in both, the halves of the embedding swap."""
    encoder = Encoder(seed=3)
    encoder.backward_stream.load_state_dict(encoder.forward_stream.state_dict())
    batch = GraphBatch.from_graphs(GRAPHS)
    order = np.argsort(batch.src, kind="stable")
    reverse = GraphBatch(batch.kinds, batch.kind, batch.dst[order], batch.src[order], batch.ptr)
    there, back = encoder.embed(batch), encoder.embed(reverse)
    np.testing.assert_allclose(np.roll(back, encoder.dim // 2, axis=1), there, atol=1e-5)
    assert np.abs(back - there).max() > 0.1


def test_nothing_global_changes():
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    encoder = Encoder(EncoderConfig(dropout=0.5), seed=5)
    encoder.train()
    encoder.embed(GRAPHS[:2])
    assert encoder.training
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(
        torch.equal(a, b)
        for a, b in zip(encoder.parameters(), Encoder(EncoderConfig(dropout=0.5), seed=5).parameters(), strict=True)
    )


def test_edges_of_the_input():
    encoder = Encoder(EncoderConfig(width=4, layers=2))
    assert encoder.embed([]).shape == (0, 8)
    lonely = Graph(GRAPHS[0].nodes[:1])  # one node and no edge
    assert np.isfinite(encoder.embed(lonely)).all()
    with pytest.raises(InvalidGraphError, match="graph 1 of 2 has no nodes"):
        encoder.embed([lonely, Graph(())])


@pytest.mark.parametrize(
    "options",
    [
        {"layer": "gcnn"},
        {"norm": "none"},
        {"pool": "min"},
        {"layer": "gat", "width": 6},
        {"width": 0},
        {"layers": 0},
        {"dropout": 1.0},
    ],
)
def test_impossible_shapes_are_refused(options):
    with pytest.raises(CgirError, match="encoder"):
        EncoderConfig(**options)
