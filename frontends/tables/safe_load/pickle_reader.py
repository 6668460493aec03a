"""An unpickler that executes no code: it reads the benchmarks' pickles by an allow-list of inert constructors.

Pickles are programs: loading one runs what its author wrote. A pickle builds everything but plain Python values
by naming a function and calling it. Here a name is looked up in one table, `_CALLS`, of functions written in this file,
which check their arguments and make plain values: numpy arrays, scalars and dtypes, the storages and tensors of PyTorch
(as numpy arrays), sets, complex numbers, slices, ordered dictionaries. The benchmarks' own result classes become
`Record`s, which hold their state and do nothing. Every other name is refused before it is used, `builtins.getattr` too.
Not even numpy's own functions are called: a dtype with a forged state makes them follow pointers that lie in the file.
Memory is not bounded: a few bytes can claim gigabytes, which ends in an error or, at worst, in the process being
killed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BufferedReader, BytesIO
from math import prod
from pickle import Unpickler
from typing import IO, Any, NoReturn

import numpy as np

from cgir.errors import FileFormatError
from cgir.typing import AnyArray

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
TORCH_FILE = ("torch.storage", "_load_from_bytes")
ADMITTED = "only numpy arrays, PyTorch tensors and plain Python values are admitted"
_PYTHON2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}


class _RefusedError(ValueError):
    """The pickle is not damaged, but requests something that is not admitted."""


class Record:
    """An object of a benchmark's result class: its fields, without the class."""


def unpickle(
    stream: IO[bytes],
    origin: str,
    read_storage: StorageReader | None = None,
    read_torch_stream: StreamReader | None = None,
) -> Any:
    """The value of the pickle at the stream's position; nothing of it is executed.

    Args:
        stream: an open file, which is left behind the end of the pickle if it has `peek`.
        origin: named in errors: the file, and the member or record in it.
        read_storage: reads the storage of a persistent id; without it, persistent ids are refused.
        read_torch_stream: reads a file of PyTorch inside the pickle, as `torch.storage._load_from_bytes` does; without
            it, such files are refused.

    Raises:
        FileFormatError: the pickle requests something that is not admitted, or is damaged.
    """
    try:
        return _Reader(stream, origin, read_storage, read_torch_stream).load()
    except FileFormatError:
        raise
    except _RefusedError as error:
        raise FileFormatError(f"{origin}: the pickle asks for {error}. Nothing was executed") from error
    except Exception as error:  # reading a damaged pickle may fail in any way
        reason = str(error).partition("\n")[0] or "it ends too early or claims too much"
        raise FileFormatError(f"{origin}: damaged pickle ({type(error).__name__}: {reason})") from error


class _Reader(Unpickler):
    """An unpickler that looks names up in the allow-list."""

    def __init__(
        self,
        stream: IO[bytes],
        origin: str,
        read_storage: StorageReader | None,
        read_torch_stream: StreamReader | None,
    ) -> None:
        super().__init__(stream)
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
            return np.dtype(STORAGE_DTYPES[name])
        if (module, name) in _NAMES:
            return name
        if (module, name) in _CALLS:
            return _Call(_CALLS[module, name])
        if (module, name) == TORCH_FILE and self.read_torch_stream is not None:
            return _Call(self._nested_file)
        raise _RefusedError(f"{module[:60]}.{name[:60]}, which is refused; {ADMITTED}")

    def persistent_load(self, pid: object) -> AnyArray:
        """The storage of a persistent id."""
        if self.read_storage is None:
            raise FileFormatError(
                f"{self.origin}: the pickle refers to data outside of it (by a {type(pid).__name__}), and there is none"
            )
        return self.read_storage(pid)

    def _nested_file(self, raw: bytes) -> Any:
        """A storage that was pickled by itself: the bytes of a file of PyTorch."""
        assert self.read_torch_stream is not None
        return self.read_torch_stream(BufferedReader(BytesIO(raw)), len(raw), "storage inside a pickle")


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


class _Dtype:
    """A dtype under construction: numpy first names the kind and size, then states the byte order."""

    __slots__ = ("dtype",)

    def __init__(self, code: str, *_: object) -> None:
        if not isinstance(code, str) or code[:1] not in "biufcSU?" or not (code[1:] or "1").isdecimal():
            raise _RefusedError(f"a numpy array of type {str(code)[:20]!r}, which is refused; {ADMITTED}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order, *parts = state[1:5]
        if order not in ("<", ">", "|", "=") or any(part is not None for part in parts):
            raise ValueError("state of a dtype")
        self.dtype = self.dtype.newbyteorder("=" if order == "|" else order)


class _Array(np.ndarray[Any, Any]):
    """An array under construction: numpy first makes an empty one, then states its shape and content."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        shape, kind, fortran, raw = state[-4:]
        _check_size(shape, kind.dtype, raw)
        super().__setstate__((1, shape, kind.dtype, bool(fortran), raw))  # type: ignore[arg-type]


def _check_size(shape: Any, dtype: np.dtype[Any], raw: object) -> None:
    if (
        not isinstance(raw, bytes | bytearray)
        or not all(type(n) is int and n >= 0 for n in shape)
        or prod(shape) * dtype.itemsize != len(raw)
    ):
        raise ValueError(f"an array of shape {str(shape)[:60]} and type {dtype} does not fit its content")


def _array(*_: object) -> _Array:
    return np.ndarray.__new__(_Array, (0,), np.int8)


def _array_of(raw: bytes, kind: _Dtype, shape: tuple[int, ...], order: str) -> AnyArray:
    _check_size(shape, kind.dtype, raw)
    return np.frombuffer(raw, kind.dtype).reshape(shape, order="F" if order == "F" else "C")


def _scalar(kind: _Dtype, raw: bytes) -> Any:
    _check_size((), kind.dtype, raw)
    return np.frombuffer(raw, kind.dtype)[0]


def _bytes(text: str, codec: str) -> bytes:
    """Bytes as pickles of protocols before 3 have them: text and its codec."""
    if codec not in ("latin1", "latin-1"):
        raise ValueError(f"bytes written as {codec[:20]!r}")
    return text.encode("latin-1")


def _items(items: object = ()) -> Sequence[Any]:
    if not isinstance(items, list | tuple):
        raise TypeError(f"a set of {type(items).__name__}")
    return items


def _bytearray(raw: str | bytes = b"", codec: str = "latin-1") -> bytearray:
    return bytearray(_bytes(raw, codec) if isinstance(raw, str) else bytes(memoryview(raw)))


def _tensor(flat: object, offset: int, size: Sequence[int], stride: Sequence[int], *_: object) -> AnyArray:
    """A view of a storage; in old files the contents of storages follow later."""
    if (
        not isinstance(flat, np.ndarray)
        or not all(type(n) is int and n >= 0 for n in (offset, *size, *stride))
        or len(size) != len(stride)
    ):
        raise ValueError("a tensor without storage, or with a strange shape")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if prod(size) and (last >= len(flat) or prod(size) > len(flat)):
        raise ValueError(f"a tensor of shape {str(tuple(size))[:60]} is larger than its storage of {len(flat)}")
    if not prod(size):
        return np.empty(size, flat.dtype)
    return np.lib.stride_tricks.as_strided(flat[offset:], size, [step * flat.itemsize for step in stride])


def _record(cls: object, base: object, state: object) -> Record:
    """An object as pickles of protocols before 2 have it."""
    if not (isinstance(cls, type) and issubclass(cls, Record)) or base != "object" or state is not None:
        raise ValueError("an object that is no record")
    return cls()


def _parameter(data: AnyArray, *_: object) -> AnyArray:
    return data


# arguments of the functions below, which need no more than the name
_NAMES = {("builtins", "object"), ("numpy", "ndarray")}
_CALLS: dict[tuple[str, str], Callable[..., object]] = {
    ("builtins", "set"): lambda items=(): set(_items(items)),
    ("builtins", "frozenset"): lambda items=(): frozenset(_items(items)),
    ("builtins", "complex"): complex,
    ("builtins", "slice"): slice,
    ("builtins", "range"): range,
    ("builtins", "xrange"): range,
    ("builtins", "bytes"): lambda: b"",
    ("builtins", "bytearray"): _bytearray,
    ("_codecs", "encode"): _bytes,
    ("copyreg", "_reconstructor"): _record,
    ("collections", "OrderedDict"): lambda pairs=(): _Dict(_items(pairs)),
    ("numpy", "dtype"): _Dtype,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _array_of for core in ("core", "_core")},
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "Size"): lambda sizes=(): tuple(_items(sizes)),
}
