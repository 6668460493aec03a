"""Whether a pool's graphs read tokens, as language models do, and not images or other numbers."""

from __future__ import annotations

from encoders.features.graph_features import GraphFeatures


def reads_tokens(features: GraphFeatures) -> bool:
    """Whether most graphs look up an embedding."""
    batch = features.graphs.batch
    embeds = [kind.op == "Embedding" for kind in batch.kinds]
    graphs = {int(graph) for graph, kind in zip(batch.graph_of_node, batch.kind, strict=True) if embeds[kind]}
    return 2 * len(graphs) > len(batch)
