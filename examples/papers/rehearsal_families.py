"""The families that `examples.papers.rehearsal` trains some networks of and ranks others of."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cgir.atomic_files import atomic_path
from cgir.typing import FloatArray
from encoders.features.graph_features import GraphFeatures, compute_features
from encoders.predictors.estimators import DEFAULT_TASK
from examples.papers.universal_families import FAMILIES as LABELLED
from examples.papers.universal_families import family
from examples.papers.zero_cost_families import TITLES
from frontends import spaces
from frontends.spaces import Space

FAMILIES = {**TITLES, "naap440": "NAAP-440", "metaqnn": "MetaQNN"}
TRAINED, RANKED = 24, 1000


class Sample(NamedTuple):
    """Networks of a family in a random order, as text, and their labels; the first `TRAINED` may be trained."""

    texts: tuple[str, ...]
    labels: FloatArray

    @property
    def ranked(self) -> slice:
        """Those that are ranked, of which none is trained."""
        return slice(TRAINED, TRAINED + RANKED)


@cache
def sample(name: str, folder: Path) -> Sample:
    """At most `TRAINED` + `RANKED` networks; they are kept in the folder, as reading whole tables takes minutes."""
    place = folder / f"sample-{name}.json"
    if not place.exists():
        found = family(name)
        rows = np.random.default_rng(0).permutation(len(found.texts))[: TRAINED + RANKED]
        kept = {"texts": [found.texts[row] for row in rows], "labels": found.labels[DEFAULT_TASK][rows].tolist()}
        with atomic_path(place) as temporary:
            temporary.write_text(json.dumps(kept), encoding="utf-8")
    kept = json.loads(place.read_text(encoding="utf-8"))
    return Sample(tuple(kept["texts"]), np.asarray(kept["labels"]))


@cache
def described(name: str, folder: Path) -> GraphFeatures:
    """The networks' graphs with their features."""
    # every space is a dataclass
    space: Space[Any] = replace(spaces.get(name), **LABELLED[name].skeleton)  # type: ignore[type-var]
    return compute_features(space.graphs(map(space.parse, sample(name, folder).texts)), None)
