"""Whether a pool's graphs read tokens, as language models do, and not images or other numbers."""

from __future__ import annotations

import numpy as np

from encoders.features.graph_features import GraphFeatures


def reads_tokens(features: GraphFeatures) -> bool:
    """Whether most graphs look up an embedding."""
    batch = features.graphs.batch
    embeds = np.asarray([kind.op == "Embedding" for kind in batch.kinds], bool)
    return 2 * len(np.unique(batch.graph_of_node[embeds[batch.kind]])) > len(batch)
