"""A pickle's opcodes, followed without making its objects, to refuse what would crash, hang or fill the process.

Python's unpickler believes a file. It hashes keys as deep as they are nested, which overflows the stack of C, and as
often as a tuple is contained in others, which takes for ever: tuples keep no hash. It makes a table of as many places
as a damaged byte claims. Dictionaries become slow where many keys have one hash, which tuples and large integers can be
made to have; texts and small integers cannot. So each tuple is followed by its depth and its size, each dictionary by
its keys that are neither text nor a small number, and claims are compared with the size of the file.

Most of a real file are dictionaries and lists of numbers and short texts, which change none of this: `_plain_part`
skips them whole by a regular expression, at a fraction of the time that unpickling takes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from mmap import mmap
from typing import Any

from cgir.limits import DEFAULT, Limits

SHORT = 80  # bytes of the texts in a part that is skipped
LARGE = 1000  # bytes: contents whose repetition is counted
BYTES_OF_OBJECT = 5  # of the file for a dictionary, tuple or call; real ones have more than ten
KEY_WORK = 20  # comparisons of keys for each object of the limit

# What the stack and the memo hold of an object. 0: text, a small number, or nothing that can be a key. A positive
# integer: a tuple, depth << SHIFT | objects in it, or another unusual key. A float: the bytes of a large content. A
# list: a dictionary or set, with the number of its unusual keys, or the result of a call.
Value = Any
SHIFT = 40
OBJECTS = (1 << SHIFT) - 1
UNUSUAL = 1

# opcode -> bytes of its argument, of those that push a plain value
PLAIN_WIDTHS = {b"G": 8, b"K": 1, b"M": 2, b"J": 4, b"N": 0, b"\x88": 0, b"\x89": 0, b"]": 0, b"\x97": 0}
# opcode -> bytes of its length, of those that push a content
LENGTH_WIDTHS = {
    b"\x8c": 1, b"X": 4, b"\x8d": 8, b"U": 1, b"T": 4, b"C": 1, b"B": 4, b"\x8e": 8, b"\x96": 8,
    b"\x8a": 1, b"\x8b": 4,
}  # fmt: skip
LONGS = b"\x8a\x8b"
SMALL_LONG, SMALL_NUMERAL = 7, 17  # bytes, digits: integers whose hash is their value


class DamagedPickleError(ValueError):
    """The opcodes are none that a pickler writes."""


def check_pickle(data: bytes | mmap, start: int, origin: str, limits: Limits = DEFAULT) -> int:
    """Follow the pickle at `start`; return where it ends.

    Args:
        data: the file.
        start: offset of the pickle, in bytes.
        origin: named in errors.
        limits: `depth` of tuples, `nodes` in a tuple, `bytes` beyond those of the file.

    Raises:
        LimitError: it would take more.
        DamagedPickleError: it is cut off, or its opcodes make no sense.
    """
    try:
        return _Scan(data, start, origin, limits).run(start)
    except IndexError:
        raise DamagedPickleError("it ends too early or claims too much") from None


class _Scan:
    """The state of an unpickler, with a `Value` in place of each object."""

    def __init__(self, data: bytes | mmap, start: int, origin: str, limits: Limits) -> None:
        self.data, self.origin, self.limits = data, origin, limits
        self.stack: list[Value] = []
        self.marks: list[int] = []
        self.memo: dict[int, Value] = {}  # without plain values
        self.next_index = 0
        # picklers of protocol 4 number what they memoize one after the other, those before name each number
        self.numbered = not (data[start] == 0x80 and data[start + 1] >= 4)
        self.plain_part = _plain_part(self.numbered, min(255, len(data) >> 24)).match
        self.objects, self.expected = 0, len(data) // BYTES_OF_OBJECT
        self.repeated = self.compared = 0

    def run(self, position: int) -> int:
        """Follow opcodes until the end of the pickle; return where that is."""
        data, stack, memo = self.data, self.stack, self.memo
        push, numbered = stack.append, self.numbered
        while True:
            op = data[position]
            position += 1
            if (width := _PLAIN[op]) >= 0:
                position += width
                push(0)
            elif op == 0x8C:  # a short text
                position += 1 + data[position]
                push(0)
            elif op == 0x94 and not numbered:  # memoize
                if stack[-1]:
                    memo[self.next_index] = stack[-1]
                self.next_index += 1
            elif op == 0x68:  # get, by one byte
                push(self.get(data[position]))
                position += 1
            elif op == 0x71 and numbered:  # put, by one byte
                self.put(data[position])
                position += 1
            elif op == 0x2E:  # the end
                return position
            elif op in _LENGTHS:
                position = self.content(op, position)
            elif op in _ACTIONS:
                position = _ACTIONS[op](self, position)
            else:
                raise DamagedPickleError(f"opcode {op:#x} at byte {position - 1}, which is not admitted")

    def get(self, index: int) -> Value:
        """The memo's value; repeating a large content may copy it."""
        value = self.memo.get(index, 0)
        if type(value) is float:
            self.repeated += int(value)
            self.limits.check("bytes", self.repeated - len(self.data), f"{self.origin}: repeating a large content")
        return value

    def put(self, index: int) -> None:
        """Number the last value. Python makes a table of twice as many places, so numbers must not run ahead."""
        if not self.numbered or index > len(self.data):
            raise DamagedPickleError(f"it numbers an object by {index}, which no pickler does")
        if self.stack[-1] or index in self.memo:
            self.memo[index] = self.stack[-1]

    def content(self, op: int, position: int) -> int:
        """A text, bytes or an integer, after its length."""
        begin = position + _LENGTHS[op]
        length = int.from_bytes(self.data[position:begin], "little")
        if length > len(self.data) - begin:
            raise DamagedPickleError(f"it claims a content of {length:,} bytes, more than the file has")
        unusual = UNUSUAL if op in LONGS and length > SMALL_LONG else 0
        self.stack.append(float(length) if length > LARGE else unusual)
        return begin + length

    def made(self, value: Value) -> Value:
        """Count an object."""
        self.objects += 1
        if self.objects > self.expected:
            self.limits.check("nodes", self.objects - self.expected, f"{self.origin}: objects beyond those of its size")
        return value

    def popped(self, count: int) -> list[Value]:
        """The last values, off the stack."""
        if len(self.stack) < count:
            raise IndexError
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def marked(self) -> list[Value]:
        """The values since the last mark, off the stack."""
        begin = self.marks.pop()
        values = self.stack[begin:]
        del self.stack[begin:]
        return values

    def tuple(self, values: list[Value]) -> Value:
        """A tuple: one more than its deepest, and the objects of all."""
        depth, objects = 0, 1 + len(values)
        if any(values):
            for value in values:
                if type(value) is int and value > UNUSUAL:
                    depth = max(depth, value >> SHIFT)
                    objects += (value & OBJECTS) - 1
        if depth >= self.limits.depth:
            self.limits.check("depth", depth + 1, f"{self.origin}: a tuple in tuples")
        self.limits.check("nodes", objects, f"{self.origin}: a tuple")
        return self.made((depth + 1) << SHIFT | objects)

    def keys(self, table: Value, keys: list[Value]) -> None:
        """Count the work of adding keys: the objects that are hashed, and comparisons if all hashes were equal."""
        if type(table) is not list:
            raise DamagedPickleError("it sets items of what is no dictionary")
        if not any(keys):
            return
        for key in keys:
            if key:
                if type(key) is list and table is not key and len(table) > 1:
                    raise DamagedPickleError("the result of a call is a key in the result of another")
                table[0] += 1
                self.compared += table[0] + (key & OBJECTS if type(key) is int else 0)
        self.limits.check("nodes", self.compared // KEY_WORK, f"{self.origin}: comparing keys that are no texts")


# Opcodes: each takes the scan and the position behind the opcode, and returns the position behind its arguments


def _mark(scan: _Scan, position: int) -> int:
    part = scan.plain_part(scan.data, position - 1)
    if part is None:
        scan.marks.append(len(scan.stack))
        return position
    end = part.end()
    if scan.data[end - 1] == 0x75:  # items of a dictionary
        scan.keys(scan.stack[-1], [])
    if not scan.numbered:
        scan.next_index += _count_memoized(scan.data[position:end])
    return end


def _pushing(value: Value, skipped: int = 0) -> Callable[[_Scan, int], int]:
    def push(scan: _Scan, position: int) -> int:
        scan.stack.append(scan.made(value))
        return position + skipped

    return push


def _table(scan: _Scan, position: int) -> int:
    scan.stack.append(scan.made([0]))
    return position


def _tuple_of(count: int) -> Callable[[_Scan, int], int]:
    def make(scan: _Scan, position: int) -> int:
        scan.stack.append(scan.tuple(scan.popped(count)))
        return position

    return make


def _tuple(scan: _Scan, position: int) -> int:
    scan.stack.append(scan.tuple(scan.marked()))
    return position


def _list(scan: _Scan, position: int) -> int:
    scan.marked()
    scan.stack.append(scan.made(0))
    return position


def _dict(scan: _Scan, position: int) -> int:
    values, table = scan.marked(), scan.made([0])
    scan.keys(table, values[::2])
    scan.stack.append(table)
    return position


def _frozenset(scan: _Scan, position: int) -> int:
    values = scan.marked()
    scan.keys([0], values)
    scan.stack.append(scan.tuple(values))
    return position


def _set_item(scan: _Scan, position: int) -> int:
    key, _ = scan.popped(2)
    scan.keys(scan.stack[-1], [key])
    return position


def _set_items(scan: _Scan, position: int) -> int:
    values = scan.marked()
    scan.keys(scan.stack[-1], values[::2])
    return position


def _add_items(scan: _Scan, position: int) -> int:
    values = scan.marked()
    scan.keys(scan.stack[-1], values)
    return position


def _append(scan: _Scan, position: int) -> int:
    scan.popped(1)
    return position


def _appends(scan: _Scan, position: int) -> int:
    scan.marked()
    return position


def _call(count: int) -> Callable[[_Scan, int], int]:
    """The result of a call replaces `count` values."""

    def call(scan: _Scan, position: int) -> int:
        scan.popped(count)
        scan.stack.append(scan.made([0, "result"]))
        return position

    return call


def _object(scan: _Scan, position: int) -> int:
    scan.marked()
    scan.stack.append(scan.made([0, "result"]))
    return position


def _instance(scan: _Scan, position: int) -> int:
    return _object(scan, _behind_line(scan, _behind_line(scan, position)))


def _persistent(scan: _Scan, position: int) -> int:
    scan.stack.append(scan.made([0, "result"]))
    return _behind_line(scan, position)


def _pop(scan: _Scan, position: int) -> int:
    if scan.marks and scan.marks[-1] == len(scan.stack):
        scan.marks.pop()
    else:
        scan.stack.pop()
    return position


def _pop_mark(scan: _Scan, position: int) -> int:
    scan.marked()
    return position


def _repeat(scan: _Scan, position: int) -> int:
    scan.stack.append(scan.stack[-1])
    return position


def _behind_line(scan: _Scan, position: int) -> int:
    end = scan.data.find(b"\n", position)
    if end < 0:
        raise IndexError
    return end + 1


def _line(scan: _Scan, position: int) -> int:
    end = _behind_line(scan, position)
    scan.stack.append(float(end - position) if end - position > LARGE else 0)
    return end


def _numeral(scan: _Scan, position: int) -> int:
    end = _behind_line(scan, position)
    scan.stack.append(UNUSUAL if end - position > SMALL_NUMERAL else 0)
    return end


def _global(scan: _Scan, position: int) -> int:
    scan.stack.append(UNUSUAL)
    return _behind_line(scan, _behind_line(scan, position))


def _index_line(scan: _Scan, position: int) -> tuple[int, int]:
    end = _behind_line(scan, position)
    text = bytes(scan.data[position : end - 1])
    if not text.strip().isdigit() or len(text) > 20:
        raise DamagedPickleError(f"it numbers an object by {text[:20]!r}")
    return int(text), end


def _put_line(scan: _Scan, position: int) -> int:
    index, end = _index_line(scan, position)
    scan.put(index)
    return end


def _get_line(scan: _Scan, position: int) -> int:
    index, end = _index_line(scan, position)
    scan.stack.append(scan.get(index))
    return end


def _long_put(scan: _Scan, position: int) -> int:
    scan.put(int.from_bytes(scan.data[position : position + 4], "little"))
    return position + 4


def _long_get(scan: _Scan, position: int) -> int:
    scan.stack.append(scan.get(int.from_bytes(scan.data[position : position + 4], "little")))
    return position + 4


def _frame(scan: _Scan, position: int) -> int:
    length = int.from_bytes(scan.data[position : position + 8], "little")
    if length > len(scan.data) - position - 8:
        raise DamagedPickleError(f"it claims a part of {length:,} bytes, more than the file has")
    return position + 8


def _proto(scan: _Scan, position: int) -> int:
    return position + 1


_ACTIONS: dict[int, Callable[[_Scan, int], int]] = {
    op[0]: action
    for op, action in {
        b"(": _mark, b")": _pushing(1 << SHIFT | 1), b"}": _table, b"\x8f": _table, b"l": _list, b"t": _tuple,
        b"d": _dict,
        b"\x85": _tuple_of(1), b"\x86": _tuple_of(2), b"\x87": _tuple_of(3), b"\x91": _frozenset,
        b"s": _set_item, b"u": _set_items, b"\x90": _add_items, b"a": _append, b"e": _appends,
        b"R": _call(2), b"\x81": _call(2), b"\x92": _call(3), b"Q": _call(1), b"P": _persistent,
        b"i": _instance, b"o": _object, b"b": _append,
        b"0": _pop, b"1": _pop_mark, b"2": _repeat,
        b"S": _line, b"V": _line, b"F": _line, b"I": _numeral, b"L": _numeral, b"c": _global, b"\x93": _tuple_of(2),
        b"p": _put_line, b"g": _get_line, b"r": _long_put, b"j": _long_get, b"\x95": _frame, b"\x80": _proto,
    }.items()
}  # fmt: skip
_PLAIN = [PLAIN_WIDTHS.get(bytes([op]), -1) for op in range(256)]
_LENGTHS = {op[0]: width for op, width in LENGTH_WIDTHS.items()}


def _alternatives(*patterns: bytes) -> bytes:
    return b"(?:" + b"|".join(patterns) + b")"


def _text(byte: bytes) -> bytes:
    """Texts and bytes of up to `SHORT` of these bytes."""
    lengths = [(re.escape(bytes([length])), byte + b"{%d}" % length) for length in range(SHORT + 1)]
    one, four = (_alternatives(*(length + rest + content for length, content in lengths)) for rest in (b"", rb"\0\0\0"))
    return _alternatives(rb"[\x8cUC]" + one, b"[XTB]" + four)


def _number(byte: bytes) -> bytes:
    return _alternatives(rb"[N\x88\x89]", *(op + byte + b"{%d}" % PLAIN_WIDTHS[op] for op in (b"G", b"K", b"M", b"J")))


def _get(byte: bytes) -> bytes:
    return _alternatives(b"h" + byte, b"j" + byte + b"{4}")


@lru_cache
def _plain_part(numbered: bool, highest: int) -> re.Pattern[bytes]:
    """A mark, keys and values, and SETITEMS; or a mark, values, and APPENDS: numbers and short texts.

    Values may repeat any object, keys none. The last byte of the number of a text is at most `highest`.
    """
    put = _alternatives(b"q.", b"r...[\\0-" + re.escape(bytes([highest])) + b"]") if numbered else rb"\x94"
    text = _text(b".") + put + b"?+"
    key, value = _alternatives(text, _number(b".")), _alternatives(_number(b"."), text, _get(b"."))
    return re.compile(rb"\((?:(?:" + key + value + b")*+u|" + value + b"*+e)", re.DOTALL)


@lru_cache
def _contents_like_memoize() -> re.Pattern[bytes]:
    """The next number or text of a plain part that has a byte like the opcode MEMOIZE, or the end of the part."""
    other = _alternatives(*(part(rb"[^\x94]") for part in (_number, _text, _get)))
    content = _alternatives(*(part(b".") for part in (_number, _text, _get)))
    return re.compile(b"(?:" + other + rb"\x94?+)*+(?:(" + content + rb")\x94?+|[ue])", re.DOTALL)


def _count_memoized(part: bytes) -> int:
    """How often a plain part, without its mark, has the opcode MEMOIZE."""
    if found := part.count(b"\x94"):
        found -= sum(content.count(b"\x94") for content in _contents_like_memoize().findall(part))
    return found
