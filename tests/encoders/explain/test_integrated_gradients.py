"""Integrated gradients: complete, exact where the score is linear, without a trace on the network."""

import numpy as np
import pytest
import torch
from encoders_samples import conv_share, random_cnns
from torch import nn

from cgir import CgirError, GraphBatch
from cgir.node_features import FEATURE_NAMES, VARIANTS, categories, node_features
from cgir.ops import INDEX
from encoders import Encoder, EncoderConfig, GraphTensors, Predictor, TrainConfig
from encoders.explain import occlusion
from encoders.explain.integrated_gradients import integrated_gradients


class Sum(nn.Module):
    """A score that is linear in the embeddings of nodes."""

    def __init__(self):
        super().__init__()
        self.encoder = Encoder(EncoderConfig(width=8, layers=1))
        self.last = nn.Linear(8, 1)

    def forward(self, arrays):
        states = arrays.forward_stream.blocks[0].self_rows(self.encoder.embedding(arrays.ops, arrays.features))
        return self.last(arrays.forward_stream.node_rows.sum @ states).squeeze(1)


def unknown(net):
    """The embedding of an operator of which nothing is known."""
    ops = torch.tensor([[INDEX["Opaque"], *[0] * len(VARIANTS)]])
    return net.encoder.embedding(ops, torch.zeros(1, len(FEATURE_NAMES)))[0].detach()


def test_a_linear_score_is_shared_out_exactly():
    net, graph = Sum(), random_cnns(1)[0]
    kinds = [node.kind for node in graph.nodes]
    with torch.no_grad():
        states = net.encoder.embedding(torch.from_numpy(categories(kinds)), torch.from_numpy(node_features(kinds)))
        shares = ((states - unknown(net)) @ net.last.weight[0]).numpy()
    for steps in (1, 5):
        np.testing.assert_allclose(integrated_gradients(net, graph, steps).nodes, shares, atol=1e-5)


@pytest.fixture(scope="module")
def fitted():
    graphs = random_cnns(32)
    train = TrainConfig(epochs=15)
    return graphs, Predictor(Encoder(EncoderConfig(width=16, layers=2)), head="rank", train=train).fit(
        graphs, conv_share(graphs)
    )


def test_values_add_up_to_the_score_minus_that_of_unknown_operators(fitted):
    graphs, predictor = fitted
    net = predictor.estimator.ensemble.members[0].net
    for graph in graphs[:4]:
        arrays = GraphTensors(graph, 2, engine="plain").minibatch([0])
        with torch.no_grad():
            score = float(net(arrays)[0])
            nothing = unknown(net)
            hook = net.encoder.embedding.register_forward_hook(
                lambda module, args, out, nothing=nothing: nothing.expand_as(out)
            )
            base = float(net(arrays)[0])
            hook.remove()
        errors = [abs(integrated_gradients(net, graph, steps).nodes.sum() - (score - base)) for steps in (4, 256)]
        assert errors[1] < 0.01 * abs(score - base)
        assert errors[1] < errors[0]
        assert integrated_gradients(net, graph, 1).score == pytest.approx(score, abs=1e-5)


def test_equal_nodes_at_different_places_are_worth_different_amounts_as_occlusion_finds_too(fitted):
    graphs, predictor = fitted
    graph = max(graphs, key=len)
    found = integrated_gradients(predictor.estimator.ensemble.members[0].net, GraphBatch.from_graphs([graph]))
    other = occlusion(predictor.predict, graph)
    assert np.corrcoef(found.nodes, other.nodes)[0, 1] > 0.5
    relu = [index for index, node in enumerate(graph.nodes) if node.op == "ReLU"]
    assert np.ptp(found.nodes[relu]) > 0
    assert not found.edges.any()


def test_the_network_is_left_alone(fitted):
    graphs, predictor = fitted
    net = predictor.estimator.ensemble.members[0].net.train()
    net.zero_grad()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    integrated_gradients(net, graphs[0], 2)
    assert net.training
    assert all(
        torch.equal(before[name], value) and value.dtype == before[name].dtype
        for name, value in net.state_dict().items()
    )
    assert all(parameter.requires_grad and parameter.grad is None for parameter in net.parameters())
    assert not net.encoder.embedding._forward_hooks


def test_what_has_no_embeddings_is_refused():
    for module, steps in ((nn.Linear(1, 1), 3), (Sum(), 0), (Encoder(), 3)):
        with pytest.raises(
            CgirError,
            match=f"node embeddings in {type(module).__name__}, steps={steps}; expected a scorer with an encoder",
        ):
            integrated_gradients(module, random_cnns(1)[0], steps)
