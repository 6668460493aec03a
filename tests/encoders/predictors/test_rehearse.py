"""`Predictor.rehearse`: short trainings are a hint of every fit that follows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from cgir.errors import CgirError
from encoders import Predictor
from frontends import spaces

SPACE: Any = spaces.get("nasbench201", cells=1)
SPECS = [SPACE.sample(np.random.default_rng(i)) for i in range(12)]
POOL = SPACE.graphs(SPECS)


def test_is_a_hint_of_fits_that_follow() -> None:
    predictor = Predictor().fit([], [], pool=POOL)
    before = predictor.predict(POOL)
    found = predictor.rehearse(SPACE, SPECS, count=6, seed=1)
    assert predictor.rehearsal is found
    assert set(found.trained) < set(range(12))
    np.testing.assert_array_equal(predictor.predict(POOL), before)  # until it is fitted again
    after = predictor.fit([], [], pool=POOL).predict(POOL)
    assert not np.array_equal(after, before)
    expected = Predictor().fit([], [], pool=POOL, hints={"any": found.as_hint()}).predict(POOL)
    np.testing.assert_allclose(after, expected)
    given = predictor.fit([], [], pool=POOL, hints={"rehearsal": (POOL, np.arange(12.0))}).predict(POOL)
    assert not np.array_equal(given, after)
    predictor.rehearsal = None
    np.testing.assert_array_equal(predictor.fit([], [], pool=POOL).predict(POOL), before)


def test_more_is_added_to_what_is_done() -> None:
    predictor = Predictor()
    first = predictor.rehearse(SPACE, SPECS, count=1)
    second = predictor.rehearse(SPACE, SPECS, count=2, done=first)
    assert list(second.outcomes)[:1] == list(first.outcomes)
    assert len(second.outcomes) == 2


@pytest.mark.parametrize("pool", [SPECS, SPECS[:1] * 3], ids=["one", "equal"])
def test_networks_that_nothing_tells_apart_are_no_hint(pool: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    predictor = Predictor().fit([], [], pool=POOL)
    before = predictor.predict(POOL)
    predictor.rehearse(SPACE, pool, count=len(pool), seconds=0.001 if pool is SPECS else None)
    np.testing.assert_array_equal(predictor.fit([], [], pool=POOL).predict(POOL), before)
    assert "rehearsal ranks none of its" in caplog.text


def test_the_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    Predictor().rehearse(SPACE, SPECS, count=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_other_heads_take_no_hint() -> None:
    with pytest.raises(CgirError, match=r"^rehearse: head 'gp' takes no hints; use head='blend'$"):
        Predictor(head="gp").rehearse(SPACE)
