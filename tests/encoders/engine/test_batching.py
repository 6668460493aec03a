"""Mini-batches: which engine they take, what is kept, and batches in any order and company."""

import numpy as np
import pytest
from cgir_samples import shuffled
from encoders_samples import random_cnns

from cgir import GraphBatch
from cgir.errors import CgirError
from encoders.engine import streaming as streaming
from encoders.engine.batching import GraphTensors
from encoders.models.conv_layers import LAYERS
from encoders.models.encoder import Encoder, EncoderConfig
from encoders.models.pooling import POOLS

GRAPHS = random_cnns(12)


def test_auto_takes_classes_where_they_pay():
    def rows(graphs, engine):
        return [
            len(block) for block in GraphTensors(graphs, 4, engine).minibatch(range(len(graphs))).forward_stream.blocks
        ]

    repeated, single = GRAPHS * 4, GRAPHS[0]
    assert rows(repeated, "auto") == rows(repeated, "compressed") != rows(repeated, "plain")
    batch = GraphBatch.from_graphs([single])
    kinds = tuple(
        batch.kinds[kind]._replace(op="ReLU", attrs=(("number", node),)) for node, kind in enumerate(batch.kind)
    )
    distinct = GraphBatch(kinds, np.arange(len(kinds)), batch.src, batch.dst, batch.ptr)
    assert GraphTensors(distinct, 4, "auto").minibatch([0]).forward_stream.blocks[-1].multiplicity is None
    with pytest.raises(CgirError, match="unknown engine 'fast'; expected one of auto, plain, compressed"):
        GraphTensors(GRAPHS, engine="fast")


@pytest.mark.parametrize("engine", ["plain", "compressed"])
@pytest.mark.parametrize("layer", LAYERS)
def test_order_of_nodes_and_company_in_the_batch_do_not_matter(layer, engine):
    encoder = Encoder(EncoderConfig(width=16, layers=3, layer=layer, pool=list(POOLS)[len(layer) % 4]), seed=2)
    together = encoder.embed(GRAPHS, engine=engine)
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(encoder.embed([shuffled(g, rng) for g in GRAPHS], engine=engine), together, atol=1e-5)
    np.testing.assert_allclose(np.concatenate([encoder.embed(g, engine=engine) for g in GRAPHS]), together, atol=1e-5)
    np.testing.assert_allclose(encoder.embed(GRAPHS, max_nodes=40, engine=engine), together, atol=1e-5)
    order = [*rng.permutation(len(GRAPHS)).tolist(), 0, 0]
    np.testing.assert_allclose(
        encoder(GraphTensors(GRAPHS, 3, engine).minibatch(order)).detach(), together[order], atol=1e-5
    )


def test_what_is_asked_for_again_is_not_made_again():
    graphs = GraphTensors(GRAPHS, 3)
    assert graphs.minibatch([0, 2]) is graphs.minibatch([0, 2])
    assert graphs.minibatch([2, 0]) is not graphs.minibatch([0, 2])
    assert graphs.with_depth(3) is graphs
    assert graphs.with_depth(2).depth == 2
