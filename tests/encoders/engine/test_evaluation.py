"""Modules in evaluation mode beside the same ones in training."""

import numpy as np
import pytest
import torch
from encoders_samples import random_cnns
from torch import nn

from encoders.engine.batching import FEW_NODES, GraphTensors
from encoders.engine.evaluation import in_evaluation_mode
from encoders.models.conv_layers import LAYERS
from encoders.models.encoder import Encoder, EncoderConfig
from encoders.models.norms import NORMS

GRAPHS = random_cnns(12)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("layer", LAYERS)
def test_is_what_eval_makes_of_a_module_and_changes_nothing_of_it(layer, norm):
    encoder = Encoder(EncoderConfig(width=8, layers=2, layer=layer, norm=norm, dropout=0.5), seed=1)
    batch = GraphTensors(GRAPHS, 2).minibatch(range(len(GRAPHS)))
    encoder(batch)  # running statistics other than those at the start
    state = {name: value.clone() for name, value in encoder.state_dict().items()}
    copy = in_evaluation_mode(encoder)
    found, inputs = copy(batch), [part.training for part in encoder.modules()]
    assert all(inputs)
    assert all(torch.equal(state[name], value) for name, value in encoder.state_dict().items())
    assert torch.equal(found, encoder.eval()(batch))
    assert in_evaluation_mode(encoder) is encoder
    assert {id(p) for p in copy.parameters()} == {id(p) for p in encoder.parameters()}


def test_one_part_in_training_is_enough():
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5))).eval()
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    expected = model(x)
    model[1][1].train()
    assert not torch.equal(model(x), expected)
    assert torch.equal(in_evaluation_mode(model)(x), expected)
    assert model[1][1].training


@pytest.mark.parametrize("pool", ["mean", "mixed", "attention"])
@pytest.mark.parametrize("layer", LAYERS)
def test_few_nodes_without_classes_give_what_classes_give(layer, pool):
    encoder = Encoder(EncoderConfig(width=16, layers=3, layer=layer, pool=pool, dropout=0.3), seed=3)
    for graph in GRAPHS[:4]:
        assert len(graph.nodes) <= FEW_NODES
        np.testing.assert_allclose(
            encoder.embed(graph), encoder.embed(graph, engine="compressed"), rtol=1e-4, atol=1e-6
        )
        np.testing.assert_allclose(encoder.embed(graph), encoder.embed(iter([graph])), rtol=1e-4, atol=1e-6)
    assert encoder.training
