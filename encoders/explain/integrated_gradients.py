"""Integrated gradients: the score of a neural network, attributed to the nodes of the graph.

Sundararajan et al. 2017, https://arxiv.org/abs/1703.01365.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cgir.errors import CgirError
from cgir.graph import Graph
from cgir.graph_batch import GraphBatch
from cgir.ops import INDEX
from encoders.engine.batching import GraphTensors
from encoders.models.node_embedding import NodeEmbedding

from .explanation import Explanation, one_graph


def integrated_gradients(module: nn.Module, graph: Graph | GraphBatch, steps: int = 64) -> Explanation:
    """Contribution of each node to f(x) - f(x'), where x are the embeddings of the graph's nodes (eq. 1).

    x' is the same graph with unknown operators ("Opaque") and sizes of 0. (Zero embeddings, the usual baseline for
    images, lie where a layer norm changes fastest: 256 steps did not reach completeness there.) The integral is the
    mean gradient at `steps` points between x' and x (eq. 3), in the middles of the steps, where the error is smaller
    than with their ends. The values add up to f(x) - f(x') (completeness, proposition 1) up to that error. Edges are
    not embedded and get 0.

    Args:
        module: a neural scorer with an `encoder`, `forward(TensorBatch) -> (G,)`, such as `Scorer` or `CARL`; it is not
            changed.
        graph: a graph, or a batch of one.
        steps: number of gradients.

    Raises:
        CgirError: more than one graph, an empty one, fewer than 1 step, or a module without `encoder` and one
            `NodeEmbedding`.
    """
    graph, net = one_graph(graph), deepcopy(module).cpu().double().eval().requires_grad_(False)
    encoder: Any = getattr(net, "encoder", None)
    embeddings = [part for part in net.modules() if isinstance(part, NodeEmbedding)]
    if encoder is None or len(embeddings) != 1 or steps < 1:
        found = f"{len(embeddings)} node embeddings in {type(module).__name__}, steps={steps}"
        raise CgirError(
            f"integrated gradients: {found}; expected a scorer with an encoder and one of them, and at least 1 step"
        )
    batch = _distinct_nodes(graph)
    arrays = GraphTensors(batch, encoder.config.layers, engine="plain").minibatch([0])
    states: Tensor = embeddings[0](arrays.ops, arrays.features)
    opaque = torch.zeros_like(arrays.ops)
    opaque[:, 0] = INDEX["Opaque"]
    baseline: Tensor = embeddings[0](opaque, torch.zeros_like(arrays.features))
    total = torch.zeros_like(states)
    for step in range(steps):
        point = torch.lerp(baseline, states, (step + 0.5) / steps).requires_grad_()
        hook = embeddings[0].register_forward_hook(lambda *_, point=point: point)
        total += torch.autograd.grad(net(arrays).sum(), point)[0]
        hook.remove()
    values = ((states - baseline) * total).sum(1).numpy() / steps
    return Explanation(graph, values, np.zeros(graph.num_edges), "integrated gradients", float(net(arrays)[0]))


def _distinct_nodes(graph: Graph) -> GraphBatch:
    """The graph with a kind for every node: equal nodes are then embedded apart."""
    batch = GraphBatch.from_graphs([graph])
    return GraphBatch(tuple(node.kind for node in graph.nodes), np.arange(len(graph)), batch.src, batch.dst, batch.ptr)
