"""What `torch.save` wrote, without PyTorch: zip archives (since 1.6) and the older stream of pickles, tensors as numpy
arrays.

Layouts as in the authors' torch/serialization.py. Zip: NAME/data.pkl, NAME/byteorder, NAME/data/KEY. Stream: magic
number, version, system, value, keys of the storages (five pickles), then for each key the number of elements (int64)
and the elements.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from struct import error as StructError
from typing import IO, Any

import numpy as np

from cgir.errors import FileFormatError
from cgir.typing import AnyArray

from .pickle_reader import unpickle

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001


def read_torch(path: Path) -> Any:
    """The value that `torch.save(value, path)` wrote; nothing in the file is executed.

    Raises:
        FileFormatError: no such file, damaged, or it asks for more than tensors and plain values.
    """
    try:
        with path.open("rb") as stream:
            return read_torch_stream(stream, os.path.getsize(path), str(path))
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read ({error.strerror or error})") from error


def read_torch_stream(stream: IO[bytes], size: int, origin: str) -> Any:
    """The same from an open file of `size` bytes that has `peek`."""
    if stream.peek(4)[:4] == b"PK\x03\x04":  # type: ignore[attr-defined]
        try:
            with zipfile.ZipFile(stream) as archive:
                return _from_zip(archive, size, origin)
        except FileFormatError:
            raise
        except (
            zipfile.BadZipFile,
            EOFError,
            ValueError,
            RuntimeError,
            StructError,
        ) as error:  # RuntimeError: encrypted, or packed in an unknown way
            raise FileFormatError(f"{origin}: damaged archive ({error})") from error
    return _from_stream(stream, size, origin)


def _from_zip(archive: zipfile.ZipFile, size: int, origin: str) -> Any:
    claimed = sum(member.file_size for member in archive.infolist())
    if claimed > size:
        raise FileFormatError(
            f"{origin}: its members claim {claimed} bytes, more than the whole file; torch.save does not compress"
        )
    names = set(archive.namelist())
    roots = [name.removesuffix("/data.pkl") for name in names if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise FileFormatError(f"{origin}: {len(roots)} members data.pkl; expected one, as torch.save writes")
    [root] = roots
    order = archive.read(f"{root}/byteorder") if f"{root}/byteorder" in names else b"little"

    def contents(key: str, dtype: np.dtype[Any], count: int) -> AnyArray:
        name = f"{root}/data/{key}"
        if name not in names or archive.getinfo(name).file_size != count * dtype.itemsize:
            raise FileFormatError(f"{origin}: storage {key[:40]} of {count} elements is not there, or has another size")
        return np.frombuffer(archive.read(name), dtype.newbyteorder(">" if order == b"big" else "<"))

    with archive.open(f"{root}/data.pkl") as stream:
        return unpickle(stream, origin, _storages(origin, contents))


def _from_stream(stream: IO[bytes], size: int, origin: str) -> Any:
    if stream.peek(2)[:1] != b"\x80":  # type: ignore[attr-defined]
        raise FileFormatError(f"{origin}: not a file of torch.save (neither a zip archive nor a pickle)")
    if unpickle(stream, origin) != MAGIC or unpickle(stream, origin) != VERSION:
        raise FileFormatError(f"{origin}: not a file of torch.save (its magic number is missing)")
    system = unpickle(stream, origin)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise FileFormatError(f"{origin}: written on a machine with another byte order")
    waiting: dict[str, AnyArray] = {}
    left = size

    def contents(key: str, dtype: np.dtype[Any], count: int) -> AnyArray:
        nonlocal left
        left -= count * dtype.itemsize
        if left < 0:
            raise FileFormatError(
                f"{origin}: storage {key[:40]} claims {count} elements, more than the whole file holds"
            )
        waiting[key] = np.zeros(count, dtype.newbyteorder("<"))
        return waiting[key]

    value = unpickle(stream, origin, _storages(origin, contents))
    keys = unpickle(stream, origin)
    if not isinstance(keys, list) or set(keys) != set(waiting):
        raise FileFormatError(f"{origin}: the list of storages does not name those that the tensors use")
    for key in keys:
        flat = waiting[key]
        if int.from_bytes(stream.read(8), "little") != len(flat) or stream.readinto(flat.view(np.uint8)) != flat.nbytes:  # type: ignore[attr-defined]
            raise FileFormatError(f"{origin}: storage {key[:40]} of {len(flat)} elements is cut off")
    return value


def _storages(origin: str, contents: Callable[[str, np.dtype[Any], int], AnyArray]) -> Callable[[Any], AnyArray]:
    """Persistent ids ("storage", type, key, device, elements[, view]) -> arrays, each read once."""
    known: dict[str, AnyArray] = {}

    def storage(pid: Any) -> AnyArray:
        match pid:
            case ("storage", np.dtype() as dtype, str(key), str(), int(count), *rest) if count >= 0 and not any(rest):
                if key not in known:
                    known[key] = contents(key, dtype, count)
                if known[key].dtype.newbyteorder("=") != dtype or len(known[key]) != count:
                    raise FileFormatError(f"{origin}: storage {key[:40]} is used with two types or sizes")
                return known[key]
        raise FileFormatError(
            f"{origin}: the pickle refers to data outside of it by a {type(pid).__name__} that names no storage of PyTorch"
        )

    return storage
