"""The tape: names, scopes, layouts of inputs, and how often bodies run."""

from __future__ import annotations

import pytest

from cgir import UnsupportedOpError
from frontends.common.tape import OpCall, Operand, Tape


def test_nodes_are_named_after_their_module_and_numbered() -> None:
    tape = Tape()
    with tape.module_scope("stem"), tape.child_scope("block"):
        tape.add("ReLU", "relu")
        tape.add("ReLU", "relu")
    with tape.child_scope("head"):
        tape.add("ReLU", "relu")
    assert [node.name for node in tape.nodes] == ["stem.block.relu", "stem.block.relu#2", "head.relu"]
    assert [node.module for node in tape.nodes] == ["stem.block", "stem.block", "head"]


def test_scopes_close_after_an_error() -> None:
    tape = Tape()
    with pytest.raises(ZeroDivisionError), tape.module_scope("stem"):
        raise ZeroDivisionError
    assert tape.path == [""]


def test_trips_of_nested_bodies_are_multiplied_and_sources_have_none() -> None:
    tape = Tape()
    tape.add("ReLU", "before")
    start = len(tape.nodes)
    tape.param("w", (3,))
    tape.constant("c", ())
    tape.add("ReLU", "body")
    tape.scale_trips(start, 3)
    tape.scale_trips(start, 4)
    assert [node.attr("trips") for node in tape.nodes] == [None, None, None, 12]


@pytest.mark.parametrize(
    ("op", "channels_last", "expected"),
    [("Conv", False, (3, 8, 9)), ("Conv", True, (9, 3, 8)), ("Linear", False, (9, 3, 8)), ("ReLU", False, (3, 8, 9))],
)
def test_the_first_reader_decides_where_the_channels_are(
    op: str, channels_last: bool, expected: tuple[int, ...]
) -> None:
    tape = Tape(batch=2)
    x = tape.input("x", (2, 3, 8, 9), 0)
    tape.emit(OpCall(op, "first", [Operand(x, x.size)], num_spatial_dims=2, channels_last=channels_last), [x.size])
    assert tape.nodes[0].shape == expected


def test_parameters_are_there_once() -> None:
    tape = Tape()
    assert tape.param("w", (3, 4)).node == tape.param("w", (3, 4)).node


def test_unknown_operators_are_refused_by_a_strict_tape() -> None:
    for strict in (False, True):
        tape = Tape(strict=strict)
        x = tape.input("x", (1, 4), 0)
        call = OpCall("Opaque", "f", [Operand(x, x.size)], display_name="library.f")
        if strict:
            with pytest.raises(UnsupportedOpError, match=r"operator library\.f \(node 'f'\)"):
                tape.emit(call, [x.size])
        else:
            assert tape.nodes[tape.emit(call, [x.size])[0]].attr("name") == "library.f"
