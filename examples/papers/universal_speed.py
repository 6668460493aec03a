"""How long `Predictor(load_pretrained())` takes to learn from few labels, beside rivals of `examples.papers.universal`.

python -m examples.papers.universal_speed     # two minutes
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import numpy as np
import torch

from benchmarks.report import Table, publish
from encoders import HandPredictor, Predictor, load_pretrained
from encoders.descriptors import describe
from encoders.networks import TASK
from examples.papers.universal_families import family, trace_timm

FAMILIES = {"nasbench201": "NAS-Bench-201", "darts": "DARTS", "ofa_mbv3": "Once-for-All, mixed sizes", "timm_imagenet": "timm"}
POOL, REPEATS = 500, 3
ABOUT = f"""\
Seconds of a fit with a pool of {POOL} networks of the family, the shortest of {REPEATS}, on as many threads as torch takes. What does not depend on
labels (embeddings, properties, paths, subtrees) was computed before for *cgir*; the rivals read graphs: *GP on hand features* is scikit-learn's, *from
scratch* is one network with a ranking loss. From 40 labels on *cgir* trains three networks, too."""


def seconds(fit: Callable[[], object]) -> float:
    """The shortest of some runs."""
    found = []
    for _ in range(REPEATS):
        start = perf_counter()
        fit()
        found.append(perf_counter() - start)
    return min(found)


def row(name: str) -> tuple[str, ...]:
    """A family's line: nodes of a network, and seconds."""
    some = np.random.default_rng(0).permutation(len(family(name).graphs))
    graphs, labels = family(name).graphs.select(some[:POOL]), family(name).labels[TASK][some[:POOL]]
    encoder = load_pretrained()
    known = describe(graphs, encoder)
    _ = known.dense, known.subtrees
    ours = [seconds(lambda count=count: Predictor(encoder).fit(known.select(np.arange(count)), labels[:count], pool=known)) for count in (10, 30, 50)]  # type: ignore[misc]
    few = graphs.select(np.arange(50))
    hand = seconds(lambda: HandPredictor().fit(few, labels[:50], pool=graphs))
    scratch = seconds(lambda: Predictor(None, "rank").fit(few, labels[:50]))
    return FAMILIES[name], f"{len(graphs.graph_of_node) / len(graphs):.0f}", *(f"{value:.1f}" for value in (*ours, hand, scratch))


def main() -> None:
    """Measure and publish."""
    trace_timm()
    columns = ("family", "nodes a network", "cgir, 10 labels", "30", "50", "GP on hand features, 50", "from scratch, 50")
    table = Table(f"Seconds of a fit, {torch.get_num_threads()} threads", columns, tuple(row(name) for name in FAMILIES))
    publish("universal-speed", "Seconds of a fit", ABOUT, "python -m examples.papers.universal_speed", [table])


if __name__ == "__main__":
    main()
