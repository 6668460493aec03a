"""Pickles, read without running them: what honest ones hold, what hostile ones ask for, what damaged ones say."""

from __future__ import annotations

import builtins
import collections
import functools
import os
import pickle
import resource
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pickle_samples import Hostile, complaint_of, read

import cgir
from frontends.tables.safe_load.pickle_reader import Record

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


# --- honest pickles

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(), inner)
        | st.tuples(inner, inner)
        | st.builds(lambda v: collections.OrderedDict(a=v), inner)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(max_examples=60, deadline=None)
@given(value=plain)
def test_plain_values_are_what_pickle_reads(protocol: int, value: Any) -> None:
    raw = pickle.dumps(value, protocol)
    assert read(raw) == pickle.loads(raw) == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_other_builtins(protocol: int) -> None:
    for value in (
        {1, 2},
        frozenset({3}),
        set(),
        slice(1, 5, 2),
        range(2, 9),
        bytearray(b"xy"),
        bytearray(),
        b"",
        2**100,
        -(2**31),
    ):
        found = read(pickle.dumps(value, protocol))
        assert found == value
        assert type(found) is type(value)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(max_examples=40, deadline=None)
@given(
    array=hnp.arrays(
        hnp.scalar_dtypes().filter(lambda dtype: dtype.kind in "biufc"),
        hnp.array_shapes(min_dims=0, min_side=0, max_side=4),
    )
)
def test_arrays_are_what_pickle_reads(protocol: int, array: np.ndarray) -> None:
    for value in (array, array.T, array.ravel()[::2]):
        raw = pickle.dumps(value, protocol)
        expected, found = pickle.loads(raw), read(raw)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_scalars_text_arrays_and_repeated_objects() -> None:
    one = np.arange(3.0)
    value = {"a": np.float64(2.5), "b": np.float32(1), "c": np.bool_(True), "d": np.array(["ab", "c"]), "e": [one, one]}
    for protocol in PROTOCOLS:
        found = read(pickle.dumps(value, protocol))
        assert (found["a"], found["b"], found["c"], type(found["a"])) == (2.5, 1, True, np.float64)
        assert found["d"].tolist() == ["ab", "c"]
        assert found["e"][0] is found["e"][1]


@pytest.fixture
def _foreign_classes() -> Iterator[None]:
    """A module of the benchmark's name whose class would do harm if it ran."""
    module = types.ModuleType("nas_201_api.api_utils")

    class ResultsCount:
        def __init__(self, epochs: int) -> None:
            self.epochs = epochs

        def __setstate__(self, state: Any) -> None:
            raise AssertionError("the class itself was used")

    ResultsCount.__module__, ResultsCount.__qualname__ = module.__name__, "ResultsCount"
    module.ResultsCount = ResultsCount  # type: ignore[attr-defined]
    sys.modules["nas_201_api"], sys.modules[module.__name__] = types.ModuleType("nas_201_api"), module
    yield
    del sys.modules["nas_201_api"], sys.modules[module.__name__]


@pytest.mark.usefixtures("_foreign_classes")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_result_classes_become_holders_of_their_state(protocol: int) -> None:
    value = sys.modules["nas_201_api.api_utils"].ResultsCount(200)
    found = read(pickle.dumps([value, value], protocol))
    assert isinstance(found[0], Record)
    assert vars(found[0]) == {"epochs": 200}
    assert found[0] is found[1]


# --- hostile pickles


MARK = "executed"
CALLS = (
    (os.system, f"touch {MARK}"),
    (builtins.eval, f"open({MARK!r}, 'w')"),
    (builtins.exec, f"open({MARK!r}, 'w')"),
    (builtins.getattr, "text", "upper"),
    (builtins.__import__, "os"),
    (builtins.open, MARK, "w"),
    (builtins.map, builtins.print, [1]),
    (builtins.type, "X", (), {}),
    (functools.partial, builtins.print),
    (functools.reduce, builtins.print, [1, 2]),
    (np.load, MARK),
    (np.array, [1]),
    (torch.load, MARK),
    (torch.hub.load, MARK, MARK),
    (types.SimpleNamespace, MARK),
    (pickle.loads, b"."),
)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("function", "args"), [(call[0], call[1:]) for call in CALLS], ids=lambda value: getattr(value, "__name__", "")
)
def test_what_is_not_admitted_is_named_and_not_executed(
    protocol: int, function: Callable[..., Any], args: tuple[Any, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    raw = pickle.dumps([1, {"a": Hostile(function, *args)}], protocol)
    with pytest.raises(
        cgir.FileFormatError,
        match=r"^a file: the pickle asks for [\w.]+\.\w+, which is refused; .* Nothing was executed$",
    ) as caught:
        read(raw)
    asked = str(caught.value).split("asks for ")[1].split(",")[0].rpartition(".")[2]
    assert asked in (function.__name__, "imap", "reduce")  # the former as Python 2 called them
    assert not list(tmp_path.iterdir())


def named(module: str, name: str, rest: bytes) -> bytes:
    """A pickle that looks a name up and does something with it."""
    return f"c{module}\n{name}\n".encode() + rest + b"."


@pytest.mark.parametrize(
    "raw",
    [
        named("builtins", "set", b"}X\x04\x00\x00\x00nameX\x01\x00\x00\x00xsb"),  # BUILD on a function
        named("builtins", "set", b"N}X\x09\x00\x00\x00_functioncos\nsystem\ns\x86b"),
        named("collections", "OrderedDict", b"(K\x01tR"),
        named("builtins", "set", b"cbuiltins\nrange\nJ\xff\xff\xff\x7f\x85R\x85R"),  # a set of two thousand million
        named("builtins", "bytearray", b"J\xff\xff\xff\x7f\x85R"),
        named("_codecs", "encode", b"X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R"),
        named("numpy.core.multiarray", "_reconstruct", b")RX\x01\x00\x00\x00xb"),
        named("builtins", "object", b")R"),
        named("builtins.set", "__class__", b""),
        named("builtins", "set.__class__", b""),
        b"\x80\x04\x8c\x08builtins\x8c\x0dset.__class__\x93.",
        b"\x80\x02(cos\nsystem\nX\x01\x00\x00\x00xo.",
        b"(X\x01\x00\x00\x00xios\nsystem\n.",
        b"\x80\x02\x82\x01.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # bytes of 2^63
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x80\x02Ppid\n.",
        b"\x80\x02K\x01Q.",
        b"\x80\x63.",
        b"",
        b"no pickle at all",
    ],
)
def test_tricks_end_in_one_line(raw: bytes) -> None:
    with pytest.raises(cgir.FileFormatError, match=r"^a file: ") as caught:
        read(raw)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("array", "complaint"),
    [
        (np.array([object()], object), r"'O8'"),
        (np.zeros(2, [("a", "i4"), ("b", "f8")]), r"'V12'"),
        (np.array(["2020-01-01"], "M8[D]"), r"'M8'"),
    ],
)
def test_arrays_of_objects_are_refused(array: np.ndarray, complaint: str) -> None:
    for protocol in PROTOCOLS:
        with pytest.raises(cgir.FileFormatError, match=complaint):
            read(pickle.dumps(array, protocol))


def test_forged_arrays_are_damaged_not_followed() -> None:
    """Memory-unsafe in numpy itself: a shape larger than the content, flags of a dtype, a list instead of bytes."""
    raw = pickle.dumps(np.arange(4, dtype=np.int8), 2)
    for old, new in (
        (b"K\x04\x85", b"K\x7f\x85"),
        (b"K\x04\x85", b"J\xff\xff\xff\x7f\x85"),
        (b"K\x04\x85", b"J\xff\xff\xff\xff\x85"),
    ):
        assert old in raw
        with pytest.raises(cgir.FileFormatError, match="does not fit its content"):
            read(raw.replace(old, new))
    with pytest.raises(cgir.FileFormatError, match="damaged pickle"):
        read(pickle.dumps(np.arange(4.0), 2).replace(b"NNNJ", b"NN}J"))


@contextmanager
def limited_memory() -> Iterator[None]:
    """Refuse what needs 2 GiB more: one damaged byte can make Python's unpickler ask for 64, and be killed."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 31), limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(max_examples=80, deadline=None)
@given(place=st.integers(0), byte=st.integers(0, 255), cut=st.booleans())
def test_damage_never_does_anything_else(protocol: int, place: int, byte: int, cut: bool) -> None:
    whole = bytearray(
        pickle.dumps(
            {"a": [np.arange(5.0), np.float32(2)], "b": collections.OrderedDict(c={1, 2}), "d": b"xyz"}, protocol
        )
    )
    place %= len(whole)
    if cut:
        del whole[place:]
    else:
        whole[place] = byte
    with limited_memory():
        complaint = complaint_of(read, bytes(whole))
    assert "\n" not in complaint
    assert complaint or not cut
