"""Loop variables on the tape: what changes from round to round depends on what enters the loop."""

from __future__ import annotations

from .axis_layout import AxisLayout, stored_shape
from .tape import Tape, Value


def changing_state(tape: Tape, initial: Value, entering: Value, floating: bool) -> Value:
    """A loop variable that starts from a constant, as the loop's body sees it: it depends on what enters the loop.

    Args:
        tape: that the node is appended to, an Identity of what enters, which canonicalisation contracts.
        initial: the constant.
        entering: a value that enters the loop and depends on a graph input.
        floating: whether the variable holds floating-point numbers, whose channels are on the last axis.
    """
    rank = len(initial.size)
    batch_axis = 0 if rank and initial.size[0] == tape.batch else None
    layout = AxisLayout(rank - 1 if rank > 1 and floating else None, batch_axis)
    shape = stored_shape(initial.size, layout, tape.batch)
    in_shapes = (stored_shape(entering.size, entering.layout, tape.batch), shape)
    node = tape.add("Identity", "state", (entering.node, initial.node), in_shapes, shape)
    return Value(node, initial.size, layout)
