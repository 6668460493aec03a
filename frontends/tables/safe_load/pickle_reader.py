"""An unpickler that executes no code: it reads the benchmarks' pickles by an allow-list of inert constructors.

Pickles are programs: loading one runs what its author wrote. A pickle builds everything but plain Python values
by naming a function and calling it. Here a name is looked up in one table, `_CALLS`, of functions written in this file,
which check their arguments and make plain values: numpy arrays, scalars and dtypes, the storages and tensors of PyTorch
(as numpy arrays), sets, complex numbers, slices, ordered dictionaries. The benchmarks' own result classes become
`Record`s, which hold their state and do nothing. Every other name is refused before it is used, `builtins.getattr` too.
Not even numpy's own functions are called: a dtype with a forged state makes them follow pointers that lie in the file.
The opcodes are followed first (`pickle_scan`), so that none of them can crash, hang or fill the process; here, calls
are refused whose results would, such as slices of slices, which Python frees by recursion.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from io import BufferedReader, BytesIO, FileIO
from math import prod
from mmap import ACCESS_READ, mmap
from pickle import Unpickler
from typing import IO, Any, NoReturn

import numpy as np

from cgir.errors import FileFormatError
from cgir.limits import DEFAULT, Limits
from cgir.typing import AnyArray

from .pickle_scan import check_pickle

# (persistent id) -> the flat array that PyTorch keeps outside of the pickle
StorageReader = Callable[[object], AnyArray]
# (file, its size in bytes, its name in errors) -> its value
StreamReader = Callable[[BufferedReader, int, str], Any]

# Plain holders of fields in the pickles of NAS-Bench-201 and its first release
RECORDS = {
    (f"{package}.{module}", name)
    for package in ("nas_201_api", "nats_bench", "nas_102_api")
    for module in ("api", "api_201", "api_utils")
    for name in ("ArchResults", "ResultsCount")
}
STORAGE_DTYPES = {
    "DoubleStorage": "f8", "FloatStorage": "f4", "HalfStorage": "f2",
    "LongStorage": "i8", "IntStorage": "i4", "ShortStorage": "i2",
    "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "?",
    "ComplexFloatStorage": "c8", "ComplexDoubleStorage": "c16",
}  # fmt: skip
NESTED = "storage inside a pickle"  # as it is called in errors
TORCH_FILE = ("torch.storage", "_load_from_bytes")
ADMITTED = "only numpy arrays, PyTorch tensors and plain Python values are admitted"
MOST_UNUSUAL = 1000  # keys that are neither text nor small numbers, of a set or dictionary that a call makes
MOST_DIMENSIONS = 32  # of arrays and tensors
LONGEST_NAME = 60  # characters of a name in a message
_PYTHON2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}


class _RefusedError(ValueError):
    """The pickle is not damaged, but requests something that is not admitted."""


class Record:
    """An object of a benchmark's result class: its fields, without the class."""

    def __setstate__(self, state: object) -> None:
        """Take the fields as they are; copying them for each object would let a small file fill the memory."""
        if type(state) is not dict:
            raise TypeError(f"the state of a record is a {type(state).__name__}")
        self.__dict__ = state


def unpickle(
    stream: IO[bytes],
    origin: str,
    read_storage: StorageReader | None = None,
    read_torch_stream: StreamReader | None = None,
    limits: Limits = DEFAULT,
) -> Any:
    """The value of the pickle at the stream's position; nothing of it is executed.

    Args:
        stream: an open file, which is left behind the end of the pickle if it has `peek`.
        origin: named in errors: the file, and the member or record in it.
        read_storage: reads the storage of a persistent id; without it, persistent ids are refused.
        read_torch_stream: reads a file of PyTorch inside the pickle, as `torch.storage._load_from_bytes` does; without
            it, such files are refused.
        limits: of what it may take.

    Raises:
        LimitError: it would take more.
        FileFormatError: the pickle requests something that is not admitted, or is damaged.
    """
    try:
        data, start, stream = _content(stream)
        check_pickle(data, start, origin, limits)
        return _Reader(stream, origin, read_storage, read_torch_stream, len(data), limits).load()
    except FileFormatError:
        raise
    except _RefusedError as error:
        raise FileFormatError(f"{origin}: the pickle asks for {error}. Nothing was executed") from error
    except Exception as error:  # reading a damaged pickle may fail in any way
        reason = str(error).partition("\n")[0] or "it ends too early or claims too much"
        raise FileFormatError(f"{origin}: damaged pickle ({type(error).__name__}: {reason})") from error


def _content(stream: IO[bytes]) -> tuple[bytes | mmap, int, IO[bytes]]:
    """All that can be read, the offset in it where the stream is, and a stream that is there."""
    source = getattr(stream, "raw", stream)
    if isinstance(source, BytesIO):
        return source.getvalue(), stream.tell(), stream
    if isinstance(source, FileIO) and stream.seekable() and source.fileno() >= 0:
        return mmap(source.fileno(), 0, access=ACCESS_READ), stream.tell(), stream
    content = stream.read()
    return content, 0, BytesIO(content)


class _Reader(Unpickler):
    """An unpickler that looks names up in the allow-list."""

    def __init__(
        self,
        stream: IO[bytes],
        origin: str,
        read_storage: StorageReader | None,
        read_torch_stream: StreamReader | None,
        size: int,
        limits: Limits,
    ) -> None:
        super().__init__(stream)
        self.size, self.limits, self.copied = size, limits, 0
        self.nested: dict[bytes, object] = {}  # files of PyTorch inside the pickle, each read once
        self.origin, self.read_storage, self.read_torch_stream = origin, read_storage, read_torch_stream
        self.admitted: dict[tuple[str, str], object] = {}

    def find_class(self, module: str, name: str) -> Any:
        """The inert constructor of a name; new for each pickle, so that none can change what the next one reads."""
        key = (_PYTHON2.get(module, module), name)
        if key not in self.admitted:
            self.admitted[key] = self._admit(*key)
        return self.admitted[key]

    def _admit(self, module: str, name: str) -> object:
        if (module, name) in RECORDS:
            return type(name, (Record,), {})
        if module == "torch" and name in STORAGE_DTYPES:
            return StorageType(STORAGE_DTYPES[name])
        if (module, name) in _NAMES:
            return name
        if (module, name) in _CALLS:
            return _Call(_CALLS[module, name])
        if (module, name) in _COLLECTIONS:
            return _Call(partial(self._collection, _COLLECTIONS[module, name]))
        if (module, name) == TORCH_FILE and self.read_torch_stream is not None:
            return _Call(self._nested_file)
        raise _RefusedError(f"{module[:LONGEST_NAME]}.{name[:LONGEST_NAME]}, which is refused; {ADMITTED}")

    def persistent_load(self, pid: object) -> AnyArray:
        """The storage of a persistent id."""
        if self.read_storage is None:
            raise FileFormatError(
                f"{self.origin}: the pickle refers to data outside of it (by a {type(pid).__name__}), and there is none"
            )
        return self.read_storage(pid).view(_Array)

    def _collection(self, make: Callable[[Sequence[Any]], object], items: object = ()) -> object:
        """A set or dictionary of a list's items, which may be repeated: what is copied is counted."""
        if not isinstance(items, list | tuple):
            raise TypeError(f"a set of {type(items).__name__}")
        self.copied += len(items)
        self.limits.check("nodes", self.copied - self.size, f"{self.origin}: sets of repeated lists")
        return make(items)

    def _nested_file(self, raw: bytes) -> Any:
        """A storage that was pickled by itself: the bytes of a file of PyTorch."""
        assert self.read_torch_stream is not None
        if not isinstance(raw, bytes | bytearray):
            raise TypeError(f"a file of PyTorch is a {type(raw).__name__}")
        key = bytes(raw)
        if key not in self.nested:
            self.nested[key] = self.read_torch_stream(BufferedReader(BytesIO(key)), len(key), NESTED)
        if not isinstance(self.nested[key], np.ndarray):
            raise ValueError("a file of PyTorch inside the pickle is no storage")
        return self.nested[key]


class _Call:
    """A function that a pickle may call but not change."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., object]) -> None:
        self._function = function

    def __call__(self, *args: object) -> object:
        return self._function(*args)

    def __setstate__(self, state: object) -> NoReturn:
        raise ValueError("the state of a function is changed")


class _Dict(dict[Any, Any]):
    """An ordered dictionary. PyTorch attaches the versions of modules to it, which are ignored."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        """Ignore the state."""


class StorageType:
    """The type of a storage of PyTorch."""

    __slots__ = ("dtype",)

    def __init__(self, code: str) -> None:
        self.dtype = np.dtype(code)

    def __setstate__(self, state: object) -> NoReturn:
        raise ValueError("the state of a type is changed")


class _Dtype:
    """A dtype under construction: numpy first names the kind and size, then states the byte order."""

    __slots__ = ("dtype",)

    def __init__(self, code: object, *_: object) -> None:
        if not isinstance(code, str) or not re.fullmatch(r"[biufcSU?][0-9]{0,9}", code):
            found = repr(code[:20]) if isinstance(code, str) else type(code).__name__
            raise _RefusedError(f"a numpy array of type {found}, which is refused; {ADMITTED}")
        self.dtype = np.dtype(code)
        if not self.dtype.itemsize:
            raise ValueError(f"an array of type {code}, whose values have no bytes")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if not isinstance(state, tuple):
            raise TypeError(f"the state of a dtype is a {type(state).__name__}")
        order, *parts = state[1:5]
        if order not in ("<", ">", "|", "=") or any(part is not None for part in parts):
            raise ValueError("state of a dtype")
        self.dtype = self.dtype.newbyteorder("=" if order == "|" else order)


class _Array(np.ndarray[Any, Any]):
    """An array under construction: numpy first makes an empty one, then states its shape and content.

    Later changes are refused: views of it would be left with memory that is freed, and numpy follows lists in lists.
    """

    def __setitem__(self, key: object, value: object) -> NoReturn:
        raise ValueError("an item of an array is set")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if self.base is not None or self.shape != (0,):
            raise ValueError("the state of an array is changed")
        shape, kind, fortran, raw = state[-4:]
        _check_size(shape, _dtype_of(kind), raw)
        super().__setstate__((1, shape, kind.dtype, bool(fortran), raw))  # type: ignore[arg-type]


def _check_size(shape: object, dtype: np.dtype[Any], raw: object) -> None:
    if not isinstance(raw, bytes | bytearray) or not isinstance(shape, tuple) or not _are_sizes(shape):
        raise ValueError(f"an array of type {dtype} has a shape that does not fit its content")
    if prod(shape) * dtype.itemsize != len(raw):
        raise ValueError(f"an array of shape {shape} and type {dtype} does not fit its content")


def _are_sizes(sizes: Sequence[object]) -> bool:
    return len(sizes) <= MOST_DIMENSIONS and all(type(n) is int and 0 <= n < 1 << 62 for n in sizes)


def _dtype_of(kind: object) -> np.dtype[Any]:
    if not isinstance(kind, _Dtype):
        raise TypeError(f"an array of type {type(kind).__name__}")
    return kind.dtype


def _array(*_: object) -> _Array:
    return np.ndarray.__new__(_Array, (0,), np.int8)


def _array_of(raw: bytes, kind: _Dtype, shape: tuple[int, ...], order: str) -> AnyArray:
    _check_size(shape, _dtype_of(kind), raw)
    array: AnyArray = np.frombuffer(raw, kind.dtype).reshape(shape, order="F" if order == "F" else "C")
    return array.view(_Array)


def _scalar(kind: _Dtype, raw: bytes) -> Any:
    _check_size((), _dtype_of(kind), raw)
    return np.frombuffer(raw, kind.dtype)[0]


def _bytes(text: object, codec: object) -> bytes:
    """Bytes as pickles of protocols before 3 have them: text and its codec."""
    if not isinstance(text, str) or codec not in ("latin1", "latin-1"):
        found = repr(codec[:20]) if isinstance(codec, str) else type(codec).__name__
        raise ValueError(f"bytes written as {found}")
    return text.encode("latin-1")


def _sizes(items: object = ()) -> tuple[int, ...]:
    if not isinstance(items, list | tuple) or not _are_sizes(items):
        raise ValueError(f"a size that is a {type(items).__name__}, or too long")
    return tuple(items)


def _slice(*bounds: object) -> slice:
    if not all(bound is None or type(bound) is int for bound in bounds):
        raise ValueError("a slice between other values than integers")
    return slice(*bounds)


def _keys(items: Sequence[Any]) -> Sequence[Any]:
    """Items that can be hashed at once; others could be made to have one hash, and be compared with each other."""
    if len(items) > MOST_UNUSUAL and not all(isinstance(item, str | bytes) or _is_small(item) for item in items):
        raise ValueError(f"a set of {len(items)} items that are neither text nor small numbers")
    return items


def _pairs(pairs: Sequence[Any]) -> Sequence[Any]:
    if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise ValueError("a dictionary of what is no pair")
    _keys([key for key, _ in pairs])
    return pairs


def _is_small(item: object) -> bool:
    return isinstance(item, float) or (isinstance(item, int) and abs(item) < 1 << 60)


def _bytearray(raw: object = b"", codec: object = "latin-1") -> bytearray:
    if not isinstance(raw, bytes | bytearray):
        raw = _bytes(raw, codec)
    return bytearray(raw)


def _tensor(flat: object, offset: object, size: object, stride: object, *_: object) -> AnyArray:
    """A view of a storage; in old files the contents of storages follow later."""
    if (
        not isinstance(flat, np.ndarray)
        or flat.ndim != 1
        or not flat.flags.c_contiguous  # not a view of a view, which may be shorter than it says
        or not isinstance(size, tuple | list)
        or not isinstance(stride, tuple | list)
        or not _are_sizes((offset, *size))
        or not _are_sizes(stride)
        or len(size) != len(stride)
    ):
        raise ValueError("a tensor without storage, or with a strange shape")
    first = int(offset)  # type: ignore[call-overload]  # one of the sizes above
    last = first + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if prod(size) and (last >= len(flat) or prod(size) > len(flat)):
        raise ValueError(f"a tensor of shape {tuple(size)} is larger than its storage of {len(flat)}")
    if not prod(size):
        return np.empty(size, flat.dtype).view(_Array)
    strides = [step * flat.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(flat[first:], size, strides).view(_Array)


def _record(cls: object, base: object, state: object) -> Record:
    """An object as pickles of protocols before 2 have it."""
    if not (isinstance(cls, type) and issubclass(cls, Record)) or base != "object" or state is not None:
        raise ValueError("an object that is no record")
    return cls()


def _parameter(data: object, *_: object) -> AnyArray:
    if not isinstance(data, np.ndarray):
        raise TypeError(f"a parameter that is a {type(data).__name__}")
    return data


# arguments of the functions below, which need no more than the name
_NAMES = {("builtins", "object"), ("numpy", "ndarray")}
_CALLS: dict[tuple[str, str], Callable[..., object]] = {
    ("builtins", "complex"): complex,
    ("builtins", "slice"): _slice,
    ("builtins", "range"): range,
    ("builtins", "xrange"): range,
    ("builtins", "bytes"): lambda: b"",
    ("builtins", "bytearray"): _bytearray,
    ("_codecs", "encode"): _bytes,
    ("copyreg", "_reconstructor"): _record,
    ("numpy", "dtype"): _Dtype,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _array_of for core in ("core", "_core")},
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "Size"): _sizes,
}
_COLLECTIONS: dict[tuple[str, str], Callable[[Sequence[Any]], object]] = {
    ("builtins", "set"): lambda items: set(_keys(items)),
    ("builtins", "frozenset"): lambda items: frozenset(_keys(items)),
    ("collections", "OrderedDict"): lambda pairs: _Dict((key, value) for key, value in _pairs(pairs)),
}
