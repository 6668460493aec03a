"""The weights that come with the package: an encoder, and what labelled families taught on its embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cgir.checksums import check_json
from cgir.errors import CgirError, FileFormatError
from cgir.strict_json import parse_object
from encoders.models.encoder import Encoder

from .estimators_blend import BlendEstimator
from .predictor import Predictor
from .source_families import PretrainedEncoder

WEIGHTS = Path(__file__).parent.parent / "weights"
CARD = "card.json"  # beside the weights: corpus, recipe, seeds, versions, families whose labels were seen, scores
NAMES = ("universal",)


def load_pretrained(name: str = "universal") -> PretrainedEncoder:
    """An encoder that knows other families: `Predictor(encoder)` ranks networks without a label, and better with a few.

    Raises:
        CgirError: there are no weights of that name.
        FileFormatError: the file has no encoder, or nothing that families taught.
    """
    predictor = load_reference(name)
    encoder, estimator = predictor.encoder, predictor.estimator
    if not (isinstance(encoder, Encoder) and isinstance(estimator, BlendEstimator) and estimator.source_model):
        raise FileFormatError(f"{_folder(name)}: expected a blend with an encoder that labelled families taught")
    return PretrainedEncoder.of(encoder, estimator.source_model, estimator.tasks, estimator.config)


def load_reference(name: str = "universal") -> Predictor:
    """The predictor as it was saved: its pool is the family by which `zero_shot` gives scores a unit.

    Raises:
        CgirError: there are no weights of that name.
    """
    return Predictor.load(_folder(name))


def card(name: str = "universal") -> dict[str, Any]:
    """What the weights were made of and what they are worth, as a dictionary; "tasks" are those of `zero_shot`."""
    path = _folder(name) / CARD
    data = path.read_bytes()
    found = parse_object(path, data)
    check_json(path, data, found)
    return found


def _folder(name: str) -> Path:
    if name not in NAMES:
        raise CgirError(f"pretrained: no weights are called {name!r}; there are {', '.join(NAMES)}")
    return WEIGHTS / name
