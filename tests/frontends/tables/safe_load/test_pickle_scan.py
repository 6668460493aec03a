"""Pickles of a few bytes that crash, hang or fill a process that reads them: refused; large honest ones: followed."""

from __future__ import annotations

import pickle
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pickle_samples import complaint_of, read

import cgir
from cgir.limits import Limits
from frontends.tables.safe_load.pickle_scan import check_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
DEEP = 200_000


def doubled(count: int, use: bytes) -> bytes:
    """A pickle that uses the last of `count` tuples, each twice the one before."""
    steps = b"".join(b"0h%ch%c\x86q%c" % (i, i, i + 1) for i in range(count))
    return b"\x80\x02)q\x00" + steps + use.replace(b"LAST", b"h%c" % count) + b"."


def large_keys(count: int, behind: bytes = b"N") -> bytes:
    """Integers that all have the hash 0."""
    numbers = (index * ((1 << 61) - 1) for index in range(1, count))
    return b"".join(b"\x8a\x0b" + number.to_bytes(11, "little") + behind for number in numbers)


def claimed(op: bytes, width: str, number: int) -> bytes:
    return b"\x80\x04" + op + struct.pack(width, number) + b"."


NESTED = b"q\x01" + b"h\x00h\x01\x85Rq\x01" * (DEEP // 4) + b"."
BOMBS = {
    "tuple as a key": b"})" + b"\x85" * DEEP + b"Ns.",
    "pair as a key": b"})" + b"N\x86" * DEEP + b"Ns.",
    "tuple in a frozenset": b"\x80\x04()" + b"\x85" * DEEP + b"\x91.",
    "tuple in a set": b"\x80\x04\x8f()" + b"\x85" * DEEP + b"\x90.",
    "tuple in no set": b")" + b"\x85" * DEEP + b".",
    "tuple by marks": b"(" * DEEP + b"t" * DEEP + b".",
    "slices": b"\x80\x02cbuiltins\nslice\nq\x000N" + NESTED,
    "doubled, a key": doubled(40, b"0}LASTNs"),
    "doubled, in a frozenset": doubled(40, b"0(LAST\x91"),
    "doubled, in a call": doubled(40, b"0cbuiltins\nset\n]LASTa\x85R"),
    "equal hashes": b"\x80\x02}(" + large_keys(60_000) + b"u.",
    "equal hashes, one by one": b"\x80\x02}" + large_keys(60_000, b"Ns") + b".",
    "place of the memo": claimed(b"Nr", "<I", 2**32 - 1),
    "place of the memo, as text": b"Np4294967295\n.",
    "bytes": claimed(b"\x8e", "<Q", 2**36),
    "bytearray": claimed(b"\x96", "<Q", 2**36),
    "text": claimed(b"\x8d", "<Q", 2**36),
    "frame": claimed(b"\x95", "<Q", 2**36),
    "integer": claimed(b"\x8b", "<I", 2**31),
    "a list in many sets": b"\x80\x02](" + b"K\x01" * 100_000 + b"eq\x00cbuiltins\nset\nq\x01("
    + b"h\x01h\x00\x85R" * 20_000 + b"t.",
    "many dictionaries": b"\x80\x02(" + b"}" * 1_300_000 + b"t.",
    "a text of a billion, repeated": b"\x80\x02X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20)
    + b"q\x00(" + b"h\x00" * 10_000 + b"t.",
    "values without bytes": b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00S0\x85R.",
    "extension": b"\x80\x02\x82\x01.",
    "buffer": b"\x80\x05\x97.",
    "two ways to number": b"\x80\x04Nq\x00.",
}  # fmt: skip


PROGRAM = """
import resource, sys, time
from pathlib import Path
sys.path[:0] = sys.argv[2].split(":")
import cgir
from frontends.tables.safe_load.pickle_reader import unpickle
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 31), used + (1 << 31)))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
for file in sorted(Path(sys.argv[1]).iterdir()):
    try:
        with file.open("rb") as stream:
            unpickle(stream, file.name)
    except cgir.FileFormatError as error:
        print(error, flush=True)
"""


def test_small_pickles_that_would_kill_are_refused(tmp_path: Path) -> None:
    """All in one process of its own, which may take 2 GB and a minute of processor time."""
    for name, raw in BOMBS.items():
        (tmp_path / name).write_bytes(raw)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), ":".join(sys.path)]
    found = subprocess.run(command, capture_output=True, check=False, text=True)
    assert [line.partition(":")[0] for line in found.stdout.splitlines()] == sorted(BOMBS), found.stderr[-500:]
    assert found.returncode == 0, found.stderr[-500:]


def test_limits_can_be_raised() -> None:
    value: Any = ()
    for _ in range(150):
        value = (value,)
    raw = pickle.dumps(value, 4)
    with pytest.raises(cgir.LimitError, match=r"a file: a tuple in tuples: takes 101 depth"):
        read(raw)
    assert check_pickle(raw, 0, "a file", Limits(depth=200)) == len(raw)


tuples = st.recursive(st.integers(-300, 300) | st.text(max_size=3), lambda inner: st.tuples(inner, inner), max_leaves=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=300) | tuples,
    lambda inner: (
        st.lists(inner) | st.dictionaries(tuples, inner) | st.tuples(inner) | st.frozensets(tuples) | st.sets(tuples)
    ),
    max_leaves=20,
)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(max_examples=40, deadline=None)
@given(value=values, first=values)
def test_the_end_of_every_pickle_is_found(protocol: int, value: Any, first: Any) -> None:
    shared = [value, {"a": value, "b": [value, value]}, [0.5] * 5, {str(i): i * 0.1 for i in range(5)}]
    raw, before = pickle.dumps(shared, protocol), pickle.dumps(first, protocol)
    assert check_pickle(before + raw + b"more", len(before), "a file") == len(before) + len(raw)
    assert check_pickle(before + raw + b"more", 0, "a file") == len(before)


def test_memoized_texts_of_skipped_parts_are_counted() -> None:
    """Else a later reference would be taken for another object, and the depth of tuples be wrong."""
    for text in ("a", "\x94" * 3, "u(e", "é" * 30, "x" * 90):
        number = struct.unpack(">d", b"\x3f" + b"\x94" * 7)[0]
        values = {text + str(i): number for i in range(300)}
        deep: Any = ()
        for _ in range(60):
            deep = (deep,)
        last: Any = deep  # the same object by the memo, 60 levels deeper
        for _ in range(60):
            last = (last,)
        raw = pickle.dumps([values, [number] * 5, deep, {0.5: text}, last], 4)
        assert "takes 101 depth" in complaint_of(read, raw)
        assert check_pickle(raw, 0, "x", Limits(depth=121)) == len(raw)


@pytest.mark.parametrize(
    ("arguments", "state"),
    [
        # a view of a view with steps of 0, whose storage has one element behind its start
        (b"h\x00K\x03(K\x04t(K\x00t\x89NtRq\x01", b"cV\n"),
        (b"h\x00K\x03(K\x04t(K\x00t\x89NtR", b""),
    ],
)
def test_views_do_not_reach_beyond_their_storage(arguments: bytes, state: bytes) -> None:
    array = pickle.dumps(np.arange(4, dtype=np.int8), 2)[:-1] + b"q\x000"
    view = b"ctorch._utils\n_rebuild_tensor_v2\nq\x02("
    once = array + view + arguments
    if not state:
        assert read(once + b".").tolist() == [3, 3, 3, 3]
        return
    with pytest.raises(cgir.FileFormatError, match="a tensor without storage"):
        read(once + b"0h\x02(h\x01K\x00(K\x04t(K\x01t\x89NtR.")


def test_arrays_do_not_change_once_they_are_made() -> None:
    array = pickle.dumps(np.arange(4, dtype=np.int8), 2)
    begin = array.index(b"(K\x01K\x04\x85")  # the state, which BUILD takes
    again = array[:-1] + array[begin:]
    with pytest.raises(cgir.FileFormatError, match="the state of an array is changed"):
        read(again)
    with pytest.raises(cgir.FileFormatError, match="an item of an array is set"):
        read(array[:-1] + b"K\x00K\x01s.")


def test_one_state_is_not_copied_for_many_objects() -> None:
    head = b"\x80\x02cnas_201_api.api_utils\nResultsCount\nq\x01}(X\x01\x00\x00\x00aK\x01uq\x02]("
    found = read(head + b"h\x01)\x81h\x02b" * 3 + b"e.")
    assert [vars(record) for record in found] == [{"a": 1}] * 3
    assert vars(found[0]) is vars(found[2])
