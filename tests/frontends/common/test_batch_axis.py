"""Where the batch of graph inputs is."""

from __future__ import annotations

from typing import Any

import pytest

from cgir import TraceError
from frontends.common.batch_axis import plan_batch

IMAGES, TOKENS, STEP = ("images", (4, 3, 8, 8)), ("tokens", (7, 4, 16)), ("step", ())


@pytest.mark.parametrize(
    ("batch", "axes", "examples"),
    [
        (0, (0, None), 4),
        (1, (1, 1), 3),
        (None, (None, None), 1),
        ({"step": None}, (0, None), 4),
        ({"images": 3}, (3, None), 8),
    ],
)
def test_one_axis_holds_the_batch_of_every_input_that_has_it(batch: Any, axes: Any, examples: int) -> None:
    other = ("step", ()) if batch != 1 else ("step", (1, 3))
    plan = plan_batch(batch, [IMAGES, other])
    assert (plan.axes, plan.examples, plan.gaps) == (axes, examples, ())


def test_an_axis_for_each_input() -> None:
    plan = plan_batch({"tokens": 1}, [IMAGES, TOKENS, STEP])
    assert (plan.axes, plan.examples, plan.gaps) == ((0, 1, None), 4, ())
    assert plan_batch({"tokens": None}, [IMAGES, TOKENS]).axes == (0, None)


def test_inputs_that_disagree_are_a_gap_unless_one_is_broadcast() -> None:
    plan = plan_batch(0, [IMAGES, TOKENS])
    assert (plan.axes, plan.examples) == ((0, None), 4)
    assert [gap.reason for gap in plan.gaps] == [
        "input 'tokens' has 7 on axis 0 and was taken to have no batch, but costs were divided by the 4 examples on "
        "axis 0 of input 'images'; say with batch= (--batch) which axis is the batch, "
        "or batch=None (--batch none) if there is none"
    ]
    assert plan_batch(0, [IMAGES, ("mask", (1, 8, 8))]).gaps == ()
    assert plan_batch(0, [("images", (1, 3, 8, 8)), ("mask", (8, 8))]).gaps == ()


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (4, "batch is 4, expected an axis of the inputs, which have 4 axes: 0 to 3"),
        (-1, "batch is -1, expected an axis"),
        (True, "batch is True, expected an axis"),
        ("0", "batch is '0', expected an axis"),
        ({"tokens": 3}, "batch is 3, expected an axis of input 'tokens', which has 3 axes"),
        ({"mask": 0}, "batch names input 'mask', which there is not; inputs are images, tokens"),
        ({"images": 0, "tokens": 0}, "input 'images' has 4 examples on axis 0, input 'tokens' has 7 on axis 0; give"),
    ],
)
def test_what_is_no_axis_is_refused(batch: Any, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        plan_batch(batch, [IMAGES, TOKENS])
