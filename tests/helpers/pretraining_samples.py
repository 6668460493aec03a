"""A small pool, a batch of pairs and its `StepContext`, which tests of the pretraining loss share."""

import numpy as np
from encoders_samples import random_cnns

from cgir.analysis.graph_properties import properties
from contrastive import PretrainConfig
from contrastive.objectives.step_context import StepContext
from contrastive.pair_sampler import NearestNeighbourPairs
from contrastive.pretraining_set import as_pool
from encoders import Encoder, EncoderConfig
from encoders.engine.batching import GraphTensors

SMALL = EncoderConfig(width=8, layers=2)
CONFIG = PretrainConfig.paper(steps=3, batch=12, projection=4, encoder=SMALL)
GRAPHS = random_cnns(20) + random_cnns(10, seed=1, channels=(32,))
FAMILIES = np.repeat([0, 1], [20, 10])
# properties, of which a fifth are unknown, and what no network of the second family has
BEHAVIOURS = properties(GRAPHS)[:, [4, 16, 23]].astype(np.float64)
BEHAVIOURS[::5, 0] = BEHAVIOURS[20:, 2] = np.nan
POOL = as_pool(GRAPHS, FAMILIES, behaviours=BEHAVIOURS)
PAIRS = NearestNeighbourPairs(FAMILIES, POOL.spectra, CONFIG.batch).draw(0)
CHOSEN = [GRAPHS[i] for i in PAIRS.indices]
B = CONFIG.batch


def context(rows=slice(None), step=0, seed=0):
    encoder = Encoder(SMALL, seed=seed).double()
    vectors = encoder(encoder_batch([CHOSEN[i] for i in range(B)[rows]]))
    return StepContext(step, PAIRS, rows, vectors, encoder)


def encoder_batch(graphs):
    return GraphTensors(graphs, SMALL.layers).minibatch(np.arange(len(graphs)))
