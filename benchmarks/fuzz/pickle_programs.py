"""Pickles as programs: opcodes at random, bombs of few bytes, and calls of what is admitted with strange arguments."""

from __future__ import annotations

import struct
from collections.abc import Callable

from numpy.random import Generator

NAMES = (
    ("builtins", "set"), ("builtins", "frozenset"), ("builtins", "slice"), ("builtins", "range"),
    ("builtins", "complex"),
    ("builtins", "bytearray"), ("builtins", "bytes"), ("_codecs", "encode"), ("collections", "OrderedDict"),
    ("copyreg", "_reconstructor"), ("numpy", "dtype"), ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"), ("numpy.core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
    ("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_parameter"), ("torch", "Size"),
    ("torch", "FloatStorage"), ("torch.storage", "_load_from_bytes"), ("nas_201_api.api_utils", "ResultsCount"),
    ("builtins", "object"), ("os", "system"), ("builtins", "eval"), ("collections", "defaultdict"),
)  # fmt: skip
LARGE = (2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1)
# opcode -> bytes of its argument
SIMPLE = {
    b"(": 0, b")": 0, b"]": 0, b"}": 0, b"\x8f": 0, b"N": 0, b"\x88": 0, b"0": 0, b"1": 0, b"2": 0, b"K": 1, b"J": 4,
    b"G": 8, b"h": 1, b"q": 1, b"\x94": 0, b"s": 0, b"u": 0, b"a": 0, b"e": 0, b"t": 0, b"l": 0, b"d": 0, b"\x85": 0,
    b"\x86": 0, b"\x87": 0, b"\x90": 0, b"\x91": 0, b"R": 0, b"b": 0, b"\x81": 0, b"\x92": 0, b"o": 0, b"Q": 0,
    b"\x82": 1, b"\x97": 0, b"\x98": 0, b"j": 4, b"r": 4, b"\x93": 0,
}  # fmt: skip
OPS = tuple(SIMPLE)


def hostile_pickle(rng: Generator) -> bytes:
    """A pickle without a benchmark's content."""
    return BOMBS[int(rng.integers(len(BOMBS)))](rng) if rng.random() < 0.5 else _program(rng)


def _program(rng: Generator) -> bytes:
    """Opcodes at random, more of those that push than of those that pop."""
    out = bytearray(b"\x80\x02" if rng.random() < 0.5 else b"\x80\x04")
    for _ in range(int(rng.geometric(0.04))):
        kind = rng.random()
        if kind < 0.3:
            out += _value(rng)
        elif kind < 0.4:
            out += _name(rng)
        else:
            op = OPS[int(rng.integers(len(OPS)))]
            out += op + (bytes([int(rng.integers(4))]) + rng.bytes(8) * 0).ljust(SIMPLE[op], b"\0")[: SIMPLE[op]]
    return bytes(out) + b"."


def _value(rng: Generator) -> bytes:
    kind = int(rng.integers(7))
    if kind == 0:
        text = rng.bytes(int(rng.integers(12))).hex().encode()
        return b"X" + struct.pack("<I", len(text)) + text
    if kind == 1:
        return b"K" + rng.bytes(1)
    if kind == 2:
        return _integer(LARGE[int(rng.integers(len(LARGE)))])
    if kind == 3:
        return b"B" + struct.pack("<I", 8) + rng.bytes(8)
    if kind == 4:
        return b"(" + _value(rng) + _value(rng) + b"t"
    return (b"N", b"]", b"}", b")")[int(rng.integers(4))]


def _integer(number: int) -> bytes:
    return b"\x8a\x09" + number.to_bytes(9, "little", signed=True)


def _name(rng: Generator) -> bytes:
    module, name = NAMES[int(rng.integers(len(NAMES)))]
    return f"c{module}\n{name}\n".encode()


def _call(rng: Generator) -> bytes:
    """A call, often with a state after it, as a value in a dictionary."""
    arguments = b"".join(_value(rng) for _ in range(int(rng.integers(5))))
    state = b"(" + b"".join(_value(rng) for _ in range(int(rng.integers(6)))) + b"tb" if rng.random() < 0.4 else b""
    return b"\x80\x02}K\x01" + _name(rng) + b"(" + arguments + b"tR" + state + b"s."


def _array(rng: Generator) -> bytes:
    """An array whose shape, type or content is wrong, and a change of it after a view was taken."""
    code = (b"f8", b"S0", b"U0", b"O8", b"V4", b"f", b"U99999999", b"c16", b"i3", b"\xc2\xb28")[int(rng.integers(10))]
    kind = b"cnumpy\ndtype\nX" + struct.pack("<I", len(code)) + code + b"K\x00K\x01\x87Rq\x05"
    kind += b"(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    sizes = b"".join(_integer(int(LARGE[int(rng.integers(6))])) for _ in range(int(rng.integers(4)))) + b"K\x00"
    shape = b"(" + (sizes if rng.random() < 0.7 else b"K\x02") + b"t"
    content = b"B" + struct.pack("<I", 16) + bytes(16) if rng.random() < 0.7 else b"B\0\0\0\0"
    make = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85B\x01\0\0\0btRq\x06"
    again = b"(K\x01" + shape + kind + b"\x88" + content + b"tb" if rng.random() < 0.3 else b""
    return b"\x80\x02" + make + b"(K\x01" + shape + kind + b"\x88" + content + b"tb" + again + b"."


def _deep(rng: Generator) -> bytes:
    """Nested so deep that C overflows its stack where it hashes or frees."""
    depth = int(rng.choice([90, 110, 5000, 200_000]))
    step = (b"\x85", b"N\x86", b"]\x86", b"NN\x87", b"(\x85" + b"t" * 0)[int(rng.integers(4))]
    if rng.random() < 0.3:
        name = (b"slice", b"frozenset", b"set")[int(rng.integers(3))]
        return (
            b"\x80\x02cbuiltins\n" + name + b"\nq\x00" + b"0N" + b"h\x00" * 0 + _nested_call(min(depth, 20_000)) + b"."
        )
    use = (b"Ns.", b"\x85.", b".")[int(rng.integers(3))]
    return (
        b"\x80\x04}" + b")" + step * depth + use
        if rng.random() < 0.8
        else b"\x80\x04(" + b")" + step * depth + b"\x91."
    )


def _nested_call(depth: int) -> bytes:
    return b"q\x01" + b"h\x00h\x01\x85Rq\x01" * depth


def _doubling(rng: Generator) -> bytes:
    """Tuples, each twice the one before: hashing, comparing or writing one takes for ever."""
    make = (b"\x86", b"\x86", b"N\x87")[int(rng.integers(3))]
    count = int(rng.choice([8, 20, 40, 60]))
    steps = b"".join(b"0h" + bytes([i]) + b"h" + bytes([i]) + make + b"q" + bytes([i + 1]) for i in range(count))
    use = (b"0}h%cNs.", b"0(h%cN\x91.", b"0]h%ca.", b"0cbuiltins\nset\n]h%ca\x85R.")[int(rng.integers(4))]
    return b"\x80\x02)q\x00" + steps + use.replace(b"%c", bytes([count]))


def _claim(rng: Generator) -> bytes:
    """More than the file has: contents, parts, places of the memo."""
    number = LARGE[int(rng.integers(len(LARGE)))]
    long, short = struct.pack("<Q", number), struct.pack("<I", number & 0xFFFFFFFF)
    kinds = (
        b"\x8e" + long, b"\x96" + long, b"\x8d" + long, b"\x95" + long, b"\x8b" + short, b"B" + short, b"X" + short,
        b"Nr" + short, b"Np%d\n" % number, b"g%d\n" % number, b"j" + short, b"I" + b"9" * 6000 + b"\n",
        b"L" + b"9" * 6000 + b"L\n", b"\x8b" + struct.pack("<I", 9000) + b"\x7f" * 9000,
    )  # fmt: skip
    return (b"\x80\x02" if rng.random() < 0.5 else b"\x80\x05") + kinds[int(rng.integers(len(kinds)))] + b"."


def _collisions(rng: Generator) -> bytes:
    """Keys of one hash."""
    count = int(rng.choice([100, 60_000]))
    keys = b"".join(_integer_key(i, bool(rng.random() < 0)) for i in range(1, count))
    return b"\x80\x02}(" + keys + b"u." if rng.random() < 0.5 else b"\x80\x04\x8f(" + keys.replace(b"N", b"") + b"\x90."


def _integer_key(index: int, plain: bool) -> bytes:
    number = index if plain else index * ((1 << 61) - 1)
    size = number.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + number.to_bytes(size, "little") + b"N"


def _many(rng: Generator) -> bytes:
    """Few bytes for many objects, and one list in many sets."""
    count = int(rng.choice([1000, 100_000]))
    if rng.random() < 0.5:
        return b"\x80\x02(" + (b"]", b"}", b")", b"(", b"\x8f")[int(rng.integers(5))] * count + b"t."
    name = NAMES[int(rng.choice([0, 1, 8, 17]))]
    head = b"\x80\x02](" + b"".join(b"J" + struct.pack("<i", i) for i in range(count // 10)) + b"eq\x00"
    call = f"c{name[0]}\n{name[1]}\n".encode() + b"q\x01"
    return head + call + b"(" + b"h\x01h\x00\x85R" * (count // 10) + b"t."


BOMBS: tuple[Callable[[Generator], bytes], ...] = (
    _call, _call, _call, _array, _array, _deep, _doubling, _claim, _claim, _collisions, _many
)  # fmt: skip
