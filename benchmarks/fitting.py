"""Seconds to fit a predictor to few labels, and to train one network from scratch: `python -m benchmarks.fitting`.

It takes three minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks.report import Table, publish
from encoders import HandPredictor, Predictor, load_pretrained
from encoders.predictors.estimators import DEFAULT_TASK
from examples.papers.universal_families import family, trace_timm

FAMILIES = {
    "nasbench201": "NAS-Bench-201",
    "darts": "DARTS",
    "ofa_mbv3": "Once-for-All, mixed sizes",
    "timm_imagenet": "timm",
}
POOL, LABELS, THREADS, REPEATS = 500, (10, 30, 50), 2, 2
ABOUT = f"""\
Seconds of `fit` from graphs, with a pool of {POOL} networks of the family, the shorter of {REPEATS}, on {THREADS}
threads. *cgir* is `Predictor(load_pretrained())`; the peers, with {LABELS[-1]} labels, are scikit-learn's Gaussian
process on hand features and one network with a ranking loss, without a pool. In brackets: times as long as *from
scratch*."""


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
    some = np.random.default_rng(0).permutation(len(family(name).graphs))[:POOL]
    graphs, labels = family(name).graphs.select(some), family(name).labels[DEFAULT_TASK][some]
    parts = {count: (graphs.select(np.arange(count)), labels[:count]) for count in LABELS}
    encoder = load_pretrained()
    ours = [seconds(partial(Predictor(encoder).fit, *parts[count], pool=graphs)) for count in LABELS]
    hand = seconds(partial(HandPredictor().fit, *parts[LABELS[-1]], pool=graphs))
    scratch = seconds(partial(Predictor(None, "rank").fit, *parts[LABELS[-1]]))
    cells = [f"{value:.1f} ({value / scratch:.2f})" for value in (*ours, hand)]
    return FAMILIES[name], f"{len(graphs.graph_of_node) / len(graphs):.0f}", *cells, f"{scratch:.1f}"


def main() -> None:
    """Measure and publish."""
    torch.set_num_threads(THREADS)
    trace_timm()
    columns = (
        "family",
        "nodes a network",
        *(f"cgir, {count} labels" for count in LABELS),
        "GP on hand features",
        "from scratch",
    )
    with threadpool_limits(limits=THREADS):
        rows = tuple(row(name) for name in FAMILIES)
    publish(
        "fitting", "Seconds of a fit", ABOUT, "python -m benchmarks.fitting", [Table("Seconds of a fit", columns, rows)]
    )


if __name__ == "__main__":
    main()
