"""Small convolutional networks for tests of `encoders` and `contrastive`, with labels that a graph network learns."""

import numpy as np

from cgir import GraphBuilder


def random_cnn(rng, depth=6, size=16, channels=(8, 16)):
    """A chain with random operators, skips and double edges (x + x)."""
    b = GraphBuilder()
    width = int(rng.choice(channels))
    outs = [b.conv(b.input((3, size, size)), width, 3)]
    for _ in range(depth):
        x = outs[rng.integers(max(0, len(outs) - 3), len(outs))]
        choice = rng.integers(4)
        if choice < 2:
            x = b.batch_norm(b.conv(b.relu(x), width, 1 if choice else 3))
        elif choice == 2:
            x = b.avg_pool(x, 3, 1, 1)
        outs.append(b.add(outs[-1], x))
    b.output(b.linear(b.global_avg_pool(outs[-1]), 10))
    return b.build()


def random_cnns(count, seed=0, **options):
    rng = np.random.default_rng(seed)
    return [random_cnn(rng, int(rng.integers(2, 8)), **options) for _ in range(count)]


def conv_share(graphs):
    """A label with few ties: share of convolutions, plus a little for the number of nodes."""
    return np.asarray([g.op_counts().get("Conv", 0) / len(g) + len(g) / 1000 for g in graphs])
