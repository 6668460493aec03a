"""A small stand-in for the weights that come with the package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from encoders_samples import conv_share, random_cnns

from encoders import Encoder, EncoderConfig, Predictor
from encoders.predictors import pretrained

CARD_ENTRY: dict[str, Any] = {
    "scores": [-0.5, -0.1, 0.0, 0.6],
    "values": [60.0, 61.5, 63.0, 66.0],
    "deviation": 1.25,
    "unit": "percent",
    "reference": "digits",
    "worth": {"cells": 0.912, "chains": 0.5},
}


@pytest.fixture
def card_entry() -> dict[str, Any]:
    """What the stand-in's model card says of its only task, "accuracy"."""
    return CARD_ENTRY


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Predictor:
    """What was saved as the weights that come with the package."""
    graphs = random_cnns(60)
    labels = conv_share(graphs)
    predictor = Predictor(Encoder(EncoderConfig(width=8, layers=2)))
    predictor.fit_sources([(graphs[:20], labels[:20]), (graphs[20:40], labels[20:40])])
    predictor.fit([], [], pool=graphs[30:])
    predictor.save(tmp_path / "universal")
    (tmp_path / "universal" / "card.json").write_text(json.dumps({"tasks": {"accuracy": CARD_ENTRY}}))
    monkeypatch.setattr(pretrained, "WEIGHTS", tmp_path)
    return predictor
