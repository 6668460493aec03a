"""Hints of `cgir finetune`: cheap values of some networks, from CSV files or data sets, for `Predictor.fit`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from cgir.errors import LabelError
from cgir.graph_batch import GraphBatch
from cgir.typing import FloatArray

from .label_csv import read_labels
from .targets import Targets


def read_hints(texts: Iterable[str], targets: Targets) -> dict[str, FloatArray]:
    """(G,) values of each hint, higher is better, NaN where unknown.

    Args:
        texts: such as early=measured.csv, a column of a file; early, a label of the data sets; -loss=measured.csv where
            lower is better.
        targets: G networks.

    Raises:
        LabelError: there is no such column or label, a name occurs twice, or too little is known to learn from.
    """
    from encoders.features.label_transforms import check_labels

    hints: dict[str, FloatArray] = {}
    for text in texts:
        signed, _, file = text.partition("=")
        name = signed.removeprefix("-")
        values = read_labels(Path(file), name).join(targets.names) if file else _label(targets, name)
        if name in hints:
            raise LabelError(f"--hint: {name} is given twice; call the columns by different names")
        known = values[np.isfinite(values)]
        try:
            check_labels(known, len(known))
        except LabelError as error:
            raise LabelError(f"--hint {text}: {str(error).removeprefix('fit: ')}") from error
        hints[name] = -values if signed.startswith("-") else values
    return hints


def hints_of(graphs: GraphBatch, hints: Mapping[str, FloatArray]) -> dict[str, tuple[GraphBatch, FloatArray]]:
    """For each hint the graphs of which it is known, and its values; the same object where these are the same graphs.

    Args:
        graphs: G of them.
        hints: (G,) values, NaN where unknown.
    """
    selected: dict[bytes, GraphBatch] = {}
    found = {}
    for name, values in hints.items():
        known = np.flatnonzero(np.isfinite(values))
        key = known.tobytes()
        if key not in selected:
            selected[key] = graphs.select(known)
        found[name] = selected[key], values[known]
    return found


def _label(targets: Targets, name: str) -> FloatArray:
    if name not in targets.labels:
        names = ", ".join(targets.labels) or "none"
        raise LabelError(
            f"--hint {name}: the data sets have no label of that name, they have {names}; "
            f"a column of a file is --hint {name}=FILE.csv"
        )
    return targets.labels[name]
