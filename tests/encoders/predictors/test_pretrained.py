"""Weights that come with the package, with a small stand-in: by name, and with what families taught."""

from __future__ import annotations

import numpy as np
import pytest
from encoders_samples import conv_share, random_cnns

from cgir.errors import CgirError
from encoders import Predictor, load_pretrained
from encoders.models.checkpoints import read_tensors
from encoders.predictors import pretrained as pretrained
from encoders.predictors.blend_config import BlendConfig
from encoders.predictors.pretrained import card, load_reference
from encoders.predictors.serialization import FILE
from encoders.predictors.source_families import PretrainedEncoder

GRAPHS = random_cnns(60)
LABELS = conv_share(GRAPHS)


def test_an_encoder_comes_with_what_families_taught(shipped: Predictor) -> None:
    encoder = load_pretrained()
    assert isinstance(encoder, PretrainedEncoder)
    assert not encoder.training
    np.testing.assert_array_equal(load_reference().predict(GRAPHS), shipped.predict(GRAPHS))
    # the pool by which `zero_shot` gives scores a unit does not come with the encoder
    pool = GRAPHS[30:]
    np.testing.assert_array_equal(
        Predictor(encoder).fit([], [], pool=pool).predict(GRAPHS), shipped.fit([], [], pool=pool).predict(GRAPHS)
    )
    assert np.abs(Predictor(encoder).predict(GRAPHS) - shipped.predict(GRAPHS)).max() > 1e-3
    one, other = (
        Predictor(weights).fit(GRAPHS[40:50], LABELS[40:50]) for weights in (encoder, load_pretrained("universal"))
    )
    np.testing.assert_array_equal(one.predict(GRAPHS), other.predict(GRAPHS))
    np.testing.assert_array_equal(one.predict(GRAPHS), shipped.fit(GRAPHS[40:50], LABELS[40:50]).predict(GRAPHS))


def test_unknown_names_are_refused(shipped: Predictor) -> None:
    for ask in (load_pretrained, load_reference, card):
        with pytest.raises(CgirError, match="no weights are called 'imagenet'; there are universal"):
            ask("imagenet")


def test_the_shipped_weights_are_small_and_say_where_they_come_from() -> None:
    folder = pretrained.WEIGHTS / "universal"
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 10_000_000
    about = card()
    assert sum(about["corpus"]["families"].values()) == about["corpus"]["graphs"] >= 200_000
    assert {"ofa_mbv3", "timm_imagenet", "nasbench101"} <= set(about["labels"]) == set(about["networks"])
    assert {"0", "10", "50"} <= set(about["scores"]["NAS-Bench-101"])


def test_the_shipped_weights_come_with_the_constants_of_the_blend() -> None:
    _, meta = read_tensors(pretrained.WEIGHTS / "universal" / FILE, "predictor")
    assert load_pretrained().blend_config == BlendConfig.from_json(meta["blend"])
