"""Every layer, norm and pool, in both engines, against loops over nodes; and the layers against PyTorch Geometric's."""

import encoders_naive as naive
import numpy as np
import pytest
import torch
from encoders_samples import random_cnns

from cgir.errors import CgirError
from cgir.graph import Graph, Node
from encoders.engine.batching import GraphTensors
from encoders.engine.message_blocks import MessageBlock
from encoders.engine.segments import Segments
from encoders.engine.sparse import SparsityPattern
from encoders.models.conv_layers import GAT, GIN, HEADS, LAYERS, GraphConv, ResGatedGraphConv, TransformerConv
from encoders.models.encoder import Encoder, EncoderConfig
from encoders.models.norms import NORMS, BatchNorm
from encoders.models.pooling import POOLS

GRAPHS = random_cnns(2)
ENGINES = ("plain", "compressed")
FIRST, SECOND = 8, 12


def batch(engine):
    return GraphTensors(GRAPHS, 3, engine).minibatch(range(len(GRAPHS)))


def outcome(out, encoder):
    """What must agree: the embedding, and the gradients of all parameters as one vector."""
    weights = torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(out.dtype)
    gradients = torch.autograd.grad((out * weights).sum(), list(encoder.parameters()))
    return out.detach(), torch.cat([g.flatten() for g in gradients])


def distance(a, b):
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("layer", LAYERS)
def test_equal_a_loop_over_nodes_and_so_do_gradients_and_statistics(layer, norm, pool):
    encoder = Encoder(EncoderConfig(width=8, layers=3, layer=layer, norm=norm, pool=pool), seed=1).double().train()
    before = {name: value.clone() for name, value in encoder.named_buffers()}
    slow, statistics = naive.encode(encoder, GRAPHS)
    expected = outcome(slow, encoder)
    for engine in ENGINES:
        encoder.load_state_dict(before, strict=False)
        found = outcome(encoder(batch(engine)), encoder)
        assert max(map(distance, found, expected)) < 1e-12
        for ours, theirs in zip(encoder.buffers(), statistics, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    assert not statistics or any(not torch.equal(before[name], value) for name, value in encoder.named_buffers())
    encoder.eval()
    torch.testing.assert_close(encoder(batch("compressed")), naive.encode(encoder, GRAPHS)[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("layer", LAYERS)
def test_single_precision_is_near_double(layer, norm, pool):
    encoder = Encoder(EncoderConfig(width=8, layers=3, layer=layer, norm=norm, pool=pool), seed=1).train()
    exact = Encoder(encoder.config, seed=1).double().train()
    exact.load_state_dict(encoder.state_dict())
    for engine in ENGINES:
        expected = outcome(exact(batch(engine)), exact)
        assert (
            max(
                distance(a.double(), b) for a, b in zip(outcome(encoder(batch(engine)), encoder), expected, strict=True)
            )
            < 1e-5
        )


def edges(seed=0, nodes=12, count=25):
    """Distinct random edges, as PyTorch Geometric has them and as a message block; the last node reads nothing."""
    rng = np.random.default_rng(seed)
    pairs = sorted(
        {
            (int(t), int(s))
            for s, t in zip(rng.integers(0, nodes, count), rng.integers(0, nodes - 1, count), strict=True)
            if s != t
        }
    )
    target, source = torch.tensor(pairs).T
    starts = torch.searchsorted(target, torch.arange(nodes + 1))
    return torch.stack([source, target]), MessageBlock(None, Segments(SparsityPattern(starts, source, nodes)))


def copied(theirs, **weights):
    theirs.double()
    with torch.no_grad():
        for name, value in weights.items():
            theirs.get_parameter(name.replace("__", ".")).copy_(
                value.reshape(theirs.get_parameter(name.replace("__", ".")).shape)
            )
    return theirs


def peer_graphconv(pyg, ours):
    theirs = copied(
        pyg.GraphConv(FIRST, SECOND, aggr="mean", bias=False),
        lin_rel__weight=ours.neighbour_linear.weight,
        lin_root__weight=ours.self_linear.weight,
    )
    return lambda x, e: theirs(x, e) + ours.self_linear.bias  # theirs has its bias behind the neighbours


def peer_gin(pyg, ours):
    torch.nn.init.constant_(ours.epsilon, 0.25)  # theirs is kept in single precision
    return pyg.GINConv(torch.nn.Sequential(ours.first, torch.nn.ReLU(), ours.second), eps=float(ours.epsilon))


def peer_gat(pyg, ours):
    return copied(
        pyg.GATConv(FIRST, SECOND // HEADS, HEADS),
        lin__weight=ours.linear.weight,
        att_src=ours.att_src,
        att_dst=ours.att_dst,
        bias=ours.bias,
    )


def four(ours, theirs, skip):
    names = {"key": ours.key, "query": ours.query, "value": ours.value, skip: ours.skip}
    if isinstance(ours, TransformerConv):
        weights = {
            f"lin_{name}__{part}": getattr(linear, part)
            for name, linear in names.items()
            for part in ("weight", "bias")
        }
        return copied(theirs, **weights)
    weights = {f"lin_{name}__weight": linear.weight for name, linear in names.items()}
    weights |= {f"lin_{name}__bias": linear.bias for name, linear in names.items() if name != skip}
    return copied(theirs, **weights, bias=ours.skip.bias)


PEERS = {
    GraphConv: peer_graphconv,
    GIN: peer_gin,
    GAT: peer_gat,
    ResGatedGraphConv: lambda pyg, ours: four(ours, pyg.ResGatedGraphConv(FIRST, SECOND), "skip"),
    TransformerConv: lambda pyg, ours: four(ours, pyg.TransformerConv(FIRST, SECOND // HEADS, HEADS), "skip"),
}  # GCN is normalised otherwise there


@pytest.mark.slow
@pytest.mark.parametrize("layer", PEERS)
@pytest.mark.filterwarnings("ignore")  # PyTorch Geometric calls what PyTorch deprecates
def test_layers_are_those_of_pytorch_geometric(layer):
    pyg = pytest.importorskip("torch_geometric.nn")
    torch.manual_seed(0)
    ours = layer(FIRST, SECOND).double()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_()
    theirs = PEERS[layer](pyg, ours)
    index, level = edges()
    x = torch.randn(12, FIRST, dtype=torch.float64)
    torch.testing.assert_close(ours(x, level), theirs(x, index), rtol=1e-12, atol=1e-12)


def test_a_single_node_has_no_variance():
    with pytest.raises(CgirError, match="single node"):
        BatchNorm(4).train()(torch.zeros(1, 4), torch.tensor([1]))
    assert torch.isfinite(BatchNorm(4).train()(torch.zeros(1, 4), torch.tensor([2]))).all()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("layer", LAYERS)
def test_graphs_without_edges(layer, pool, engine):
    encoder = Encoder(EncoderConfig(width=8, layers=3, layer=layer, pool=pool), seed=1).double()
    graphs = [Graph((Node("Input", shape=(4,)),) * count) for count in (1, 3)] + [
        Graph((Node("Input", shape=(8, 2)), Node("Input", shape=(4,))))
    ]
    out = encoder(GraphTensors(graphs, 3, engine).minibatch(range(3)))
    torch.testing.assert_close(out, naive.encode(encoder, graphs)[0], rtol=1e-12, atol=1e-12)
    out.sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in encoder.parameters() if parameter.grad is not None)
    assert encoder.embed(graphs[0], engine=engine).shape == (1, encoder.dim)
