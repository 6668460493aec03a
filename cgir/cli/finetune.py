"""What `cgir finetune` does, in the steps that the command line takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cgir.errors import LabelError
from cgir.graph_batch import GraphBatch
from cgir.store.graph_store import GraphStore
from cgir.typing import FloatArray
from encoders.features.label_transforms import check_labels
from encoders.models.checkpoints import load_encoder
from encoders.models.registry import GraphEncoder
from encoders.predictors.predictor import Predictor

from .label_csv import Measurements
from .predict import PRETRAINED
from .targets import Named

ENCODER = "encoder.safetensors"  # in the folder that `contrastive.pretrain` writes


def encoder(which: str) -> GraphEncoder | None:
    """The one that comes with the package, by its name; None for "none"; else the one in a file, or in a folder of
    `contrastive.pretrain`.
    """
    if which == PRETRAINED:
        from encoders.predictors.pretrained import load_pretrained

        return load_pretrained(which)
    path = Path(which)
    return None if which == "none" else load_encoder(path / ENCODER if path.is_dir() else path)


def labels(networks: Named, measured: Measurements | None, metric: str | None) -> tuple[str, FloatArray]:
    """A metric's name and (G,) its values, NaN where unknown: those that were measured, or else those that data sets
    brought along.

    Raises:
        LabelError: there are none, several to choose from, or too few to learn from.
    """
    name = measured.metric if measured is not None else _label(list(networks.labels), metric)
    values = measured.of(networks.names) if measured is not None else networks.labels[name]
    known = values[np.isfinite(values)]
    if len(known) < 2:
        raise LabelError(
            f"{name} is known of {len(known)} of the {len(values)} networks; a ranking needs 2 or more (`cgir predict --task` needs none)"
        )
    check_labels(known, len(known))
    return name, values


def source(path: Path, metric: str) -> tuple[GraphBatch, FloatArray]:
    """The graphs of a data set of another family that have the label, and its values. LabelError if it is not among its
    labels.
    """
    store = GraphStore.open(path)
    if metric not in store.labels:
        raise LabelError(f"{path}: no label {metric!r}; it has {', '.join(store.labels) or 'none'}")
    known = np.flatnonzero(np.isfinite(store.labels[metric]))
    return store.batch(known), store.labels[metric][known]


def fit(predictor: Predictor, graphs: GraphBatch, y: FloatArray, limit: int | None, seed: int) -> int:
    """Fit on the graphs that have a label, with all of them as the pool; how many labels were used.

    Args:
        predictor: not fitted, or on sources only.
        graphs: G of them.
        y: (G,) labels, higher is better, NaN where unknown.
        limit: use this many, drawn at random.
        seed: of the drawing, of weights and of batches.
    """
    known = np.flatnonzero(np.isfinite(y))
    chosen = known[np.random.default_rng(seed).permutation(len(known))[:limit]]
    predictor.fit(graphs.select(chosen), y[chosen], seed=seed, pool=graphs)
    return len(chosen)


def _label(names: list[str], metric: str | None) -> str:
    if not names:
        raise LabelError(
            "nothing is known of these networks; give measurements with --labels FILE.csv, or a data set that has labels"
        )
    if metric is None and len(names) > 1:
        raise LabelError(
            f"{len(names)} labels to choose from, {', '.join(names)}; say which with --metric, such as --metric {names[0]}"
        )
    if metric is not None and metric not in names:
        raise LabelError(f"the networks have no label {metric!r}; it has to be one of {', '.join(names)}")
    return metric or names[0]
