"""Contrastive pretraining on unlabelled networks of two search spaces, and what the embedding sees.

python examples/pretrain_an_encoder.py
"""

from pathlib import Path

import numpy as np

import contrastive
from cgir import GraphBatch, spectral_distance, spectrum
from encoders import save_encoder
from frontends import spaces


def main(folder: Path = Path("runs/examples"), steps: int = 100, networks: int = 1000) -> None:
    """Sample, pretrain, embed, and find the nearest networks of the first one.

    Args:
        folder: where the encoder is written.
        steps: of pretraining.
        networks: number sampled from each space.
    """
    rng = np.random.default_rng(0)
    pools, families = [], []
    for name in ("nasbench101", "nasbench201"):
        space = spaces.get(name, cells=1)
        pools.append(space.graphs([space.sample(rng) for _ in range(networks)]))
        families += [name] * networks
    graphs = GraphBatch.concatenate(pools)
    encoder = contrastive.pretrain(graphs, contrastive.PretrainConfig(steps=steps), families)
    save_encoder(encoder, folder / "encoder.safetensors")
    vectors = encoder.embed(graphs)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    nearest = np.argsort(-(unit @ unit[0]))[1:6]
    distances = spectral_distance(spectrum(graphs.select(nearest)), spectrum(graphs.select([0])))
    print(
        "nearest to",
        families[0],
        "number 0:",
        *(f"{families[i]} {i} (spectral distance {d:.3f})" for i, d in zip(nearest, distances[:, 0], strict=True)),
    )


if __name__ == "__main__":
    main()
