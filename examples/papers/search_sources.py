"""Predictors that `examples.papers.search` starts from: taught by all labelled families that are not the target's.

The encoder is the shipped one, which was pretrained without labels; the shipped source model is not used, as it has
seen labels of these very families.
"""

from __future__ import annotations

import json
from pathlib import Path
from time import perf_counter

from cgir.atomic_files import atomic_path
from encoders import Encoder, Predictor, load_pretrained
from examples.papers.universal_families import METRICS, trace_timm
from examples.papers.universal_methods import taught

SEED = 0
# TransNAS micro and macro share their data, tasks and recipe: neither teaches the other
RELATED = (("transnas_micro", "transnas_macro"),)


def encoder() -> Encoder:
    """The shipped encoder, without what labels taught."""
    return load_pretrained("universal").without_sources()


def teachers(target: str) -> list[str]:
    """The families that may teach a predictor for the target's: all but itself and those related to it."""
    left_out = {target}.union(*(group for group in RELATED if target in group))
    return [name for name in METRICS if name not in left_out]


def source_predictor(target: str, folder: Path) -> Predictor:
    """The default predictor, taught by other families; made once (minutes), with its seconds beside it.

    Args:
        target: name of the family that is to be searched.
        folder: of the saved predictors.
    """
    names = teachers(target)
    place = folder / f"sources-{target}"
    if not place.exists():
        start = perf_counter()
        trace_timm()
        taught(encoder(), names, SEED).save(place)
        record = {"target": target, "teachers": names, "seconds": perf_counter() - start}
        with atomic_path(folder / f"sources-{target}.json") as path:
            path.write_text(json.dumps(record) + "\n", encoding="utf-8")
    return Predictor.load(place)
