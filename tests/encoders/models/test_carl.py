"""CARL against equations (2) to (6) of the paper written with dense matrices and loops; masks, partners and batches."""

from dataclasses import asdict, replace
from functools import partial
from itertools import permutations

import numpy as np
import pytest
import safetensors.torch
import torch
from encoders_samples import random_cnns
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import layer_norm

from cgir import Graph, GraphBuilder
from cgir.errors import CgirError
from encoders import metrics
from encoders.engine.batching import GraphTensors
from encoders.models.carl import CARL, CarlConfig, derangement
from encoders.models.encoder import Encoder, EncoderConfig
from encoders.models.nn_former import SiblingTransformer
from encoders.training.loop import TrainConfig, epochs, optimise
from encoders.training.seeding import seeded
from frontends import spaces

GRAPHS = random_cnns(9, seed=3)
SIZES = [4, 1, 3]
LABELS = torch.tensor([0.3, -1.0, 0.3, 0.4, 0.0, 1.2, -0.5, -0.7], dtype=torch.float64)  # two of a family are equal


def plain(graphs, depth=2):
    return GraphTensors(graphs, depth, "plain").minibatch(range(len(graphs)))


def small(seed=0, **options):
    """In double precision and without dropout, so that nothing is drawn but partners."""
    options = {"width": 6, "dropout": 0.0} | options
    return CARL(Encoder(EncoderConfig(width=5, layers=2), seed), CarlConfig(**options), seed).double()


# the paper, graph by graph


def perceptron(net, x):
    return net[3].weight @ torch.relu(net[0].weight @ x + net[0].bias) + net[3].bias


def edge_shares(model, source, reader):
    net = model.edge_mask
    hidden = torch.relu(net.first.weight @ torch.cat([source, reader]) + net.first.bias)
    return torch.softmax(net.second.weight @ hidden + net.second.bias, 0)


def representation(model, branch, graph, hidden, raw):
    """Z of one branch (0: causal) of one graph from its nodes' states, by adjacency matrices A[reader, source]."""
    config, n = model.config, len(graph)
    half = torch.full((2,), 0.5, dtype=hidden.dtype)
    masked, whole = torch.zeros(n, n, dtype=hidden.dtype), torch.zeros(n, n, dtype=hidden.dtype)
    for reader, node in enumerate(graph.nodes):
        for source in node.inputs:
            share = edge_shares(model, hidden[source], hidden[reader]) if config.level != "node" else half
            masked[reader, source] = masked[reader, source] + share[branch]
            whole[reader, source] += 1
    features = hidden if config.features == "hidden" else raw
    shares = [torch.softmax(perceptron(model.node_mask, h), 0) if config.level != "edge" else half for h in hidden]
    x = torch.stack([f * share[branch] for f, share in zip(features, shares, strict=True)])
    ways = {
        "both": [(masked, whole), (masked.T, whole.T)],
        "along": [(masked, whole)],
        "against": [(masked.T, whole.T)],
    }[config.direction]
    for layer in model.layers:
        out = 0
        for (a, counts), weight in zip(ways, layer.weight[branch].chunk(len(ways), dim=1), strict=True):
            matrix = a if config.literal else (a + torch.eye(n, dtype=a.dtype)) / (counts.sum(1, keepdim=True) + 1)
            out = out + matrix @ x @ weight / len(ways)
        x = torch.relu(
            out if config.literal else layer_norm(out, out.shape[1:], layer.scale[branch], layer.shift[branch])
        )
    return {"mean": x.mean(0), "sum": x.sum(0), "max": x.amax(0)}[config.pool]


def scores_by_hand(model, graphs, partners):
    batch = plain(graphs)
    sizes = [len(graph) for graph in graphs]
    hidden = model.encoder.nodes(batch).split(sizes)
    raw = batch.forward_stream.blocks[0].self_rows(model.encoder.embedding(batch.ops, batch.features)).split(sizes)
    causal, redundant = (
        [representation(model, branch, *args) for args in zip(graphs, hidden, raw, strict=True)] for branch in (0, 1)
    )
    pairs = [(z, redundant[partner]) for z, partner in zip(causal, partners, strict=True)]
    paired = [z + r if model.config.pairing == "add" else torch.cat([z, r]) for z, r in pairs]
    heads = (model.causal, model.redundant, model.intervened or model.causal)
    return [
        [perceptron(head, z)[0] for z in vectors]
        for head, vectors in zip(heads, (causal, redundant, paired), strict=True)
    ]


def hinge_by_hand(scores, labels, margin):
    """Equations (3) and (5), over pairs that differ, divided by their number."""
    terms = [
        max(
            torch.zeros((), dtype=scores[i].dtype), margin - (scores[i] - scores[j]) * torch.sign(labels[i] - labels[j])
        )
        for i in range(len(scores) - 1)
        for j in range(i + 1, len(scores))
        if labels[i] != labels[j]
    ]
    return sum(terms) / max(len(terms), 1)


def loss_by_hand(model, graphs, labels, sizes, partners):
    config, start, total = model.config, 0, 0
    causal, redundant, intervened = scores_by_hand(model, graphs, partners)
    for size in sizes:
        part = slice(start, start + size)
        total = total + hinge_by_hand(causal[part], labels[part], config.margin)
        total = total + config.redundancy * sum(y**2 for y in redundant[part]) / size
        if size > 1:
            total = total + config.intervention * hinge_by_hand(intervened[part], labels[part], config.margin)
        start += size
    return total / len(sizes)


OPTIONS = [
    {},
    {"features": "raw", "pool": "sum"},
    {"pairing": "concat", "layers": 1, "pool": "max"},
    {"heads": "shared", "margin": 1.0},
    {"direction": "along", "layers": 3},
    {"direction": "against", "level": "edge"},
    {"direction": "along", "literal": True, "redundancy": 2.0},
    {"literal": True, "level": "node"},
    {"redundancy": 0.0, "intervention": 0.7},
    {"redundancy": 0.2, "intervention": 0.0},
    {"redundancy": 0.0, "intervention": 0.0},
]


def gradients(value, model):
    found = torch.autograd.grad(value, list(model.parameters()), allow_unused=True)
    return torch.cat(
        [
            torch.zeros_like(p).flatten() if g is None else g.flatten()
            for p, g in zip(model.parameters(), found, strict=True)
        ]
    )


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equal_the_equations_with_dense_matrices_and_so_do_gradients(options, seed):
    model, graphs = small(seed, **options), random_cnns(sum(SIZES), seed=seed)
    with seeded(5):
        found = model.loss(plain(graphs), LABELS, SIZES)
    with seeded(5):
        partners = derangement(SIZES).tolist()
    expected = loss_by_hand(model, graphs, LABELS, SIZES, partners)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert expected > 0
    torch.testing.assert_close(gradients(found, model), gradients(expected, model), rtol=1e-10, atol=1e-12)
    with seeded(5):
        outputs = model.outputs(plain(graphs), SIZES)
    for ours, theirs in zip(outputs, scores_by_hand(model, graphs, partners), strict=True):
        torch.testing.assert_close(ours, torch.stack(theirs), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(model(plain(graphs)), outputs.causal, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_graphs_without_edges_and_of_a_single_node_are_graphs_too(options):
    graphs = []
    for nodes in (1, 2, 3):
        b = GraphBuilder()
        for channels in range(1, nodes + 1):
            b.input((channels, 8, 8))
        graphs.append(b.build())
    model, labels = small(**options), torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64)
    with seeded(5):
        found = model.loss(plain(graphs), labels, [3])
    with seeded(5):
        expected = loss_by_hand(model, graphs, labels, [3], derangement([3]).tolist())
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients(found, model), gradients(expected, model), rtol=1e-10, atol=1e-12)
    assert model.masks(plain(graphs)).edges.shape == (0,)


def test_masks_are_the_shares_of_equation_2_in_the_order_of_reads():
    model, batch = small(), plain(GRAPHS)
    masks, hidden = model.masks(batch), model.encoder.nodes(batch)
    torch.testing.assert_close(
        masks.nodes, torch.stack([torch.softmax(perceptron(model.node_mask, h), 0)[0] for h in hidden])
    )
    edges, start = [], 0
    for graph in GRAPHS:
        edges += [
            edge_shares(model, hidden[start + u], hidden[start + v])[0]
            for v, node in enumerate(graph.nodes)
            for u in node.inputs
        ]
        start += len(graph)
    torch.testing.assert_close(masks.edges, torch.stack(edges))
    for part in model._shares(hidden, batch):  # causal and redundant together are the whole
        torch.testing.assert_close(part.sum(1), torch.ones(len(part), dtype=part.dtype))
        assert 0 < part.min() < part.max() < 1


@pytest.mark.parametrize(("level", "masked"), [("node", "nodes"), ("edge", "edges")])
def test_what_is_not_masked_is_half_and_half(level, masked):
    masks = small(level=level).masks(plain(GRAPHS))._asdict()
    assert masks.pop(masked).std() > 0
    (rest,) = masks.values()
    assert (rest == 0.5).all()


@pytest.mark.parametrize("options", [{}, {"pool": "attention"}, {"features": "raw", "direction": "along"}], ids=str)
def test_a_score_depends_neither_on_the_order_of_nodes_nor_on_the_other_graphs(options):
    model = small(**options)
    scores = model(plain(GRAPHS))
    assert scores.std() > 0
    for order in ([2], [4, 2, 8, 2], range(9)[::-1]):
        torch.testing.assert_close(
            model(plain([GRAPHS[i] for i in order])), scores[list(order)], rtol=1e-11, atol=1e-12
        )
    moved = [another_order(graph, np.random.default_rng(0)) for graph in GRAPHS]
    assert sum([n.op for n in a.nodes] != [n.op for n in b.nodes] for a, b in zip(moved, GRAPHS, strict=True)) > 3
    torch.testing.assert_close(model(plain(moved)), scores, rtol=1e-11, atol=1e-12)


def another_order(graph, rng):
    """The same graph with its nodes in another topological order."""
    order, left = [], set(range(len(graph)))
    while left:
        order.append(int(rng.choice([v for v in sorted(left) if not left & set(graph.nodes[v].inputs)])))
        left.remove(order[-1])
    place = {old: new for new, old in enumerate(order)}
    nodes = [graph.nodes[old] for old in order]
    return Graph(tuple(replace(node, inputs=tuple(place[i] for i in node.inputs)) for node in nodes))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(0, 2**16))
def test_partners_are_others_of_the_same_family_each_taken_once(sizes, seed):
    with seeded(seed):
        partners = derangement(sizes).numpy()
    family = np.repeat(np.arange(len(sizes)), sizes)
    assert sorted(partners) == list(range(len(family)))
    np.testing.assert_array_equal(family[partners], family)
    alone = np.repeat(sizes, sizes) == 1
    np.testing.assert_array_equal(partners == np.arange(len(family)), alone)


def test_partners_are_drawn_evenly():
    with seeded(0):
        three = [tuple(derangement([3]).tolist()) for _ in range(2000)]
        five = np.stack([derangement([5]).numpy() for _ in range(4000)])
    both = [p for p in permutations(range(3)) if all(p[i] != i for i in range(3))]
    assert sorted(set(three)) == sorted(both)
    assert abs(three.count(both[0]) - 1000) < 110  # five standard deviations
    shares = np.stack([(five == other).mean(0) for other in range(5)])
    np.testing.assert_allclose(shares, (1 - np.eye(5)) / 4, atol=0.035)


def test_partners_come_from_the_generator_that_training_seeds():
    model, batch = small(), plain(GRAPHS)
    with seeded(1):
        first = model.outputs(batch, [9])
    with seeded(1):
        again = model.outputs(batch, [9])
    with seeded(2):
        other = model.outputs(batch, [9])
    assert torch.equal(first.intervened, again.intervened)
    assert torch.equal(first.causal, other.causal)
    assert not torch.equal(first.intervened, other.intervened)


def touched(model, labels=LABELS):
    """Names of the parts that a step would move."""
    model.zero_grad()
    model.loss(plain(GRAPHS[:8]), labels, [8]).backward()
    return {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}


def branch_gradients(model):
    return [layer.weight.grad.abs().amax((1, 2)) for layer in model.layers]


def test_a_lambda_of_zero_takes_its_part_out_of_learning():
    every = {"encoder", "node_mask", "edge_mask", "layers", "causal", "redundant", "intervened"}
    for options, missing in (
        ({}, set()),
        ({"redundancy": 0.0}, {"redundant"}),
        ({"intervention": 0.0}, {"intervened"}),
        ({"redundancy": 0.0, "intervention": 0.0}, {"redundant", "intervened"}),
    ):
        model = small(margin=1.0, **options)
        assert touched(model) == every - missing
        for causal, redundant in branch_gradients(model):
            assert causal > 0
            assert (redundant > 0) == (len(missing) < 2)
    alone = small(redundancy=0.5, intervention=0.5)
    alone.zero_grad()
    # nothing to rank and nobody to pair with: only eq. (4) is left
    alone.loss(plain(GRAPHS[:1]), LABELS[:1], [1]).backward()
    assert all(g[0] == 0 < g[1] for g in branch_gradients(alone))


def test_equal_labels_rank_nothing():
    model = small(redundancy=0.0, intervention=0.5)
    assert touched(model, torch.zeros(8, dtype=torch.float64)) == set()


def test_the_seed_decides_and_the_callers_random_state_stays():
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    first, again, other = (small(seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["layers.0.weight"], other["layers.0.weight"])
    assert not torch.equal(first["causal.0.weight"], first["redundant.0.weight"])


BAD = [
    ({"features": "onehot"}, "unknown features 'onehot'; expected one of hidden, raw"),
    ({"loss": "l1"}, "unknown loss 'l1'; expected one of hinge"),
    ({"pool": "median"}, "unknown pool"),
    ({"direction": "up"}, "expected one of both, along, against"),
    ({"heads": "shared", "pairing": "concat"}, "one head cannot read"),
    ({"layers": 0}, "layers=0; expected at least 1"),
    ({"margin": -1.0}, "margin=-1.0"),
    ({"redundancy": float("nan")}, "redundancy=nan"),
    ({"intervention": float("inf")}, "intervention=inf"),
    ({"dropout": 1.0}, "dropout=1.0"),
]


@pytest.mark.parametrize(("options", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_options_are_one_clear_line(options, message):
    with pytest.raises(CgirError, match=message) as error:
        CarlConfig(**options)
    assert "\n" not in str(error.value)
    assert CarlConfig(**asdict(CarlConfig())) == CarlConfig()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_weights_can_be_written_and_read(options):
    """safetensors refuses tensors that two names share."""
    model, other, batch = small(**options), small(1, **options), plain(GRAPHS)
    other.load_state_dict(safetensors.torch.load(safetensors.torch.save(model.state_dict())))
    assert torch.equal(other(batch), model(batch))


@pytest.mark.parametrize("options", [{}, {"features": "raw"}], ids=str)
def test_it_plugs_into_an_encoder_of_another_kind(options):
    encoder = SiblingTransformer(seed=1)
    depth, model = encoder.config.layers, CARL(encoder, CarlConfig(dropout=0.0, **options)).double()
    scores = model(plain(GRAPHS, depth))
    assert scores.std() > 0
    torch.testing.assert_close(model(plain(GRAPHS[3:5], depth)), scores[3:5], rtol=1e-10, atol=1e-12)
    model.loss(plain(GRAPHS, depth), torch.linspace(-1, 1, 9).double(), [9]).backward()
    assert encoder.embedding.op.weight.grad.abs().max() > 0


def test_what_cannot_be_masked_or_paired_is_refused():
    model = small()
    compressed = GraphTensors(GRAPHS, 2, "compressed").minibatch(range(9))
    for use in (model, model.masks, lambda arrays: model.outputs(arrays, [9])):
        with pytest.raises(CgirError, match=r"compressed batch.*engine='plain'"):
            use(compressed)
    for sizes in ([8], [9, 0], [10, -1]):
        with pytest.raises(CgirError, match=r"families of .* for a batch of 9"):
            model.loss(plain(GRAPHS), torch.zeros(9), sizes)


# a planted motif: graphs in which some operator reads a certain other one are better by 1, with noise of deviation 0.1


SPACE = spaces.get("nasbench201")


def planted(batch, reader):
    """Whether each edge goes from an average pooling to that operator, and whether each graph has such an edge."""
    ops = np.asarray([kind.op for kind in batch.kinds])[batch.kind]
    edges = (ops[batch.src] == "AvgPool") & (ops[batch.dst] == reader)
    return edges, np.isin(np.arange(len(batch)), batch.graph_of_node[batch.dst[edges]])


@pytest.mark.parametrize(
    ("compile_", "reader", "level"),
    [(SPACE.cell_graphs, "Conv", "both"), (SPACE.graphs, "ReLU", "edge")],
    ids=["cells", "networks"],
)
def test_a_motif_that_decides_labels_is_learned_and_its_edges_are_causal(compile_, reader, level):
    """The best tau is about 0.5: half of the pairs have the motif in both graphs or in neither, in random order.

    Nothing in the losses says which part of a graph the causal one is, only that it scores. Of five seeds on networks,
    edges of the motif have the higher shares in all five with level="edge", in four with "both".
    """
    rng = np.random.default_rng(1)
    batch = compile_([SPACE.sample(rng) for _ in range(450)])
    has = planted(batch, reader)[1]
    labels = has + 0.1 * rng.normal(size=len(batch))
    halves = [np.flatnonzero(part)[:90] for part in (has, ~has)]  # as many with the motif as without
    train, unseen = np.concatenate([half[:50] for half in halves]), np.concatenate([half[50:] for half in halves])
    model = CARL(Encoder(EncoderConfig(width=16, layers=2)), CarlConfig(width=32, level=level))
    fit(model, GraphTensors(batch.select(train), 2, "plain"), labels[train], 20)
    rest = batch.select(unseen)
    arrays = GraphTensors(rest, 2, "plain").minibatch(range(len(unseen)))
    with torch.no_grad():
        scores, shares = model(arrays).numpy(), model.masks(arrays).edges.numpy()
    motif = planted(rest, reader)[0]
    elsewhere = ~motif & has[unseen][rest.graph_of_node[rest.dst]]  # the other edges of graphs that have it
    assert metrics.kendall_tau(scores, labels[unseen]) > 0.35
    assert shares[motif].mean() > shares[elsewhere].mean() + 0.08


def fit(model, graphs, labels, count, seed=0):
    targets = torch.from_numpy((labels - labels.mean()) / labels.std()).float()
    steps = list(epochs(len(graphs), 10, count, np.random.default_rng(seed)))
    optimise(
        [model], (partial(step_loss, model, graphs, targets, step) for step in steps), len(steps), TrainConfig(), seed
    )


def step_loss(model, graphs, targets, step):
    return model.loss(graphs.minibatch(step), targets[step], [len(step)])
