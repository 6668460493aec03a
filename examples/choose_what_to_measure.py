"""Choose eight of Once-for-All's 2 * 10^19 networks to measure first: those farthest apart, of 2,000 at random.

    python examples/choose_what_to_measure.py

Laplacian spectra cannot choose: kernels and expansions leave the wiring as it is, so thousands of networks share few
spectra.
"""

from __future__ import annotations

import numpy as np

import cgir
from cgir.typing import FloatArray
from frontends import spaces


def far_apart(distances: FloatArray, count: int) -> list[int]:
    """Greedy k-center: begin in the middle, then always the one that is farthest from all chosen ones."""
    chosen = [int(distances.sum(axis=0).argmin())]
    while len(chosen) < count:
        chosen.append(int(distances[chosen].min(axis=0).argmax()))
    return chosen


def main(networks: int = 2000) -> None:
    """Draw, compare, choose, print."""
    space, rng = spaces.get("ofa_mbv3"), np.random.default_rng(0)
    specs = [space.sample(rng) for _ in range(networks)]
    graphs = space.graphs(specs)
    spectra = {tuple(row) for row in cgir.spectrum(graphs).round(9)}
    features = cgir.wl_features(graphs)
    distances = np.asarray(cgir.wl_distance(features, features))
    print(f"{networks} networks of {graphs.num_nodes / networks:.0f} operators, {len(spectra)} distinct spectra")
    print(f"distances: median {np.median(distances):.1f}, largest {distances.max():.1f}\n")
    chosen = far_apart(distances, 8)
    for place in chosen:
        graph = space.graph(specs[place])
        print(f"{graph.flops / 2e6:5.0f} MMAC {graph.num_params / 1e6:5.2f} M  {space.format(specs[place])}")
    between = distances[np.ix_(chosen, chosen)]
    print(f"\nthe nearest two of them are {between[between > 0].min():.1f} apart")


if __name__ == "__main__":
    main()
