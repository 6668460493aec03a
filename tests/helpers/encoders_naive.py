"""Encoders as loops over nodes, written from the equations in the papers, without node classes or matrices; slow."""

import torch
from torch import nn

from cgir.node_features import categories, node_features
from encoders.models.conv_layers import GAT, GCN, GIN, HEADS, GraphConv, ResGatedGraphConv, TransformerConv
from encoders.models.pooling import AttentionPool, MaxPool, MixedPool, SumPool


def graphconv(layer, own, neighbours):
    mean = sum(neighbours) / len(neighbours) if neighbours else torch.zeros_like(own)
    return layer.self_linear.weight @ own + layer.self_linear.bias + layer.neighbour_linear.weight @ mean


def gcn(layer, own, neighbours):
    return layer.linear.weight @ (sum(neighbours, own) / (len(neighbours) + 1)) + layer.linear.bias


def gin(layer, own, neighbours):
    return layer.second(torch.relu(layer.first(sum(neighbours, (1 + layer.epsilon) * own))))


def gat(layer, own, neighbours):
    mine = (layer.linear.weight @ own).chunk(HEADS)
    theirs = [(layer.linear.weight @ u).chunk(HEADS) for u in [own, *neighbours]]
    out = []
    for head in range(HEADS):
        scores = [layer.att_dst[head] @ mine[head] + layer.att_src[head] @ u[head] for u in theirs]
        alpha = torch.softmax(torch.stack([score if score > 0 else 0.2 * score for score in scores]), 0)
        out.append(sum(a * u[head] for a, u in zip(alpha, theirs, strict=True)))
    return torch.cat(out) + layer.bias


def gated(layer, own, neighbours):
    return sum((torch.sigmoid(layer.key(own) + layer.query(u)) * layer.value(u) for u in neighbours), layer.skip(own))


def transformer(layer, own, neighbours):
    if not neighbours:
        return layer.skip(own)
    queries, out = layer.query(own).chunk(HEADS), []
    for head in range(HEADS):
        scores = [queries[head] @ layer.key(u).chunk(HEADS)[head] / len(queries[head]) ** 0.5 for u in neighbours]
        alpha = torch.softmax(torch.stack(scores), 0)
        out.append(sum(a * layer.value(u).chunk(HEADS)[head] for a, u in zip(alpha, neighbours, strict=True)))
    return layer.skip(own) + torch.cat(out)


LAYERS = {GraphConv: graphconv, GCN: gcn, GIN: gin, GAT: gat, ResGatedGraphConv: gated, TransformerConv: transformer}


def normed(norm, rows):
    """PyTorch's own normalisation of the rows of all nodes, with the weights and running statistics of `norm`."""
    width, dtype = rows.shape[1], rows.dtype
    theirs = nn.BatchNorm1d(width) if hasattr(norm, "running_mean") else nn.LayerNorm(width)
    theirs = theirs.to(dtype).train(norm.training)
    parameters, buffers = dict(norm.named_parameters()), {name: value.clone() for name, value in norm.named_buffers()}
    return torch.func.functional_call(theirs, {**parameters, **buffers}, (rows,)), buffers


def pooled(pool, rows):
    if isinstance(pool, SumPool):
        return sum(rows)
    if isinstance(pool, MixedPool):
        half = rows.shape[1] // 2
        return torch.cat([sum(rows)[:half] / len(rows), sum(rows)[half:]])
    if isinstance(pool, MaxPool):
        return torch.stack(list(rows)).amax(0)
    if isinstance(pool, AttentionPool):
        alpha = torch.softmax(torch.cat([pool.gate(row) for row in rows]), 0)
        return sum(a * torch.tanh(pool.value(row)) for a, row in zip(alpha, rows, strict=True))
    return sum(rows) / len(rows)


def stream(module, x, neighbours, sizes):
    """Vectors (G, width) of all graphs, and the running statistics that the batch leaves behind.

    `neighbours[v]`: the nodes that send v a message, once for every edge.
    """
    buffers = []
    for layer, norm in zip(module.layers, module.norms, strict=True):
        out = torch.stack([LAYERS[type(layer)](layer, x[v], [x[u] for u in neighbours[v]]) for v in range(len(x))])
        out, statistics = normed(norm, out)
        buffers += statistics.values()
        x = x + torch.relu(out)
    return torch.stack([pooled(module.pool, part) for part in x.split(sizes)]), buffers


def encode(encoder, graphs):
    """(G, dim), and the running statistics that the batch leaves behind, in the order of `encoder.buffers()`."""
    kinds = [node.kind for graph in graphs for node in graph.nodes]
    x = encoder.embedding(torch.from_numpy(categories(kinds)), torch.from_numpy(node_features(kinds)))
    sources, readers, start = [], [], 0
    for graph in graphs:
        sources += [[start + u for u in node.inputs] for node in graph.nodes]
        readers += [[start + u for u in nodes] for nodes in graph.consumers]
        start += len(graph)
    sizes = [len(graph) for graph in graphs]
    (forward, first), (backward, second) = (
        stream(encoder.forward_stream, x, sources, sizes),
        stream(encoder.backward_stream, x, readers, sizes),
    )
    return torch.cat([forward, backward], dim=1), first + second
