"""Reader of files of `torch.save` without PyTorch: tensors become numpy arrays.

It reads zip archives (since PyTorch 1.6) and the older stream of pickles.
Layouts as in the authors' torch/serialization.py. Zip: NAME/data.pkl, NAME/byteorder, NAME/data/KEY. Stream: magic
number, version, system, value, keys of the storages (five pickles), then for each key the number of elements (int64)
and the elements.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

import numpy as np

from cgir.errors import FileFormatError, one_line
from cgir.limits import DEFAULT, Limits
from cgir.typing import AnyArray

from .archive_members import DAMAGED, check_zip
from .pickle_reader import StorageReader, StorageType, unpickle

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001


def read_torch(path: Path, limits: Limits = DEFAULT) -> Any:
    """The value that `torch.save(value, path)` wrote; nothing in the file is executed.

    Raises:
        LimitError: it would take more than its size and `limits`.
        FileFormatError: no such file, damaged, or it requests more than tensors and plain values.
    """
    try:
        with path.open("rb") as stream:
            return read_torch_stream(stream, os.path.getsize(path), str(path), limits)
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read ({error.strerror or error})") from error


def read_torch_stream(
    stream: BufferedReader, size: int, origin: str, limits: Limits = DEFAULT, nested: bool = False
) -> Any:
    """The value in an open file of `torch.save`; nothing in it is executed.

    Args:
        stream: the file.
        size: of the file, in bytes; a claim of more is refused.
        origin: named in errors.
        limits: of what it may take beyond its size.
        nested: whether this file is a storage inside of another, which has none itself.

    Raises:
        FileFormatError: as `read_torch`.
    """
    read = partial(unpickle_tensors, limits=limits, nested=nested)
    if stream.peek(4)[:4] == b"PK\x03\x04":
        try:
            with zipfile.ZipFile(stream) as archive:
                return _from_zip(archive, size, origin, read)
        except FileFormatError:
            raise
        except DAMAGED as error:
            raise FileFormatError(f"{origin}: damaged archive ({one_line(error)})") from error
    return _from_stream(stream, size, origin, read)


def unpickle_tensors(
    stream: IO[bytes],
    origin: str,
    read_storage: StorageReader | None = None,
    limits: Limits = DEFAULT,
    nested: bool = False,
) -> Any:
    """`unpickle`, where storages inside the pickle are files of PyTorch.

    Args:
        stream: an open file.
        origin: named in errors.
        read_storage: reads the storage of a persistent id; without it, persistent ids are refused.
        limits: of what it may take beyond its size.
        nested: whether the pickle is in such a storage, which has none itself.

    Raises:
        FileFormatError: the pickle requests something that is not admitted, or is damaged.
    """
    read_file = None if nested else partial(read_torch_stream, limits=limits, nested=True)
    return unpickle(stream, origin, read_storage, read_file, limits)


def _from_zip(archive: zipfile.ZipFile, size: int, origin: str, read: Callable[..., Any]) -> Any:
    claimed = sum(member.file_size for member in archive.infolist())
    if claimed > size:
        raise FileFormatError(
            f"{origin}: its members claim {claimed} bytes, more than the whole file; torch.save does not compress"
        )
    check_zip(archive, origin)
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
        return read(stream, origin, _storage_reader(origin, contents))


def _from_stream(stream: BufferedReader, size: int, origin: str, read: Callable[..., Any]) -> Any:
    if stream.peek(2)[:1] != b"\x80":
        raise FileFormatError(f"{origin}: not a file of torch.save (neither a zip archive nor a pickle)")
    for number in (MAGIC, VERSION):
        found = read(stream, origin)
        if type(found) is not int or found != number:
            raise FileFormatError(f"{origin}: not a file of torch.save (its magic number is missing)")
    system = read(stream, origin)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise FileFormatError(f"{origin}: written on a machine with another byte order")
    storages: dict[str, AnyArray] = {}
    remaining = size

    def contents(key: str, dtype: np.dtype[Any], count: int) -> AnyArray:
        nonlocal remaining
        remaining -= count * dtype.itemsize
        if remaining < 0:
            raise FileFormatError(
                f"{origin}: storage {key[:40]} claims {count} elements, more than the whole file holds"
            )
        storages[key] = np.zeros(count, dtype.newbyteorder("<"))
        return storages[key]

    value = read(stream, origin, _storage_reader(origin, contents))
    keys = read(stream, origin)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or set(keys) != set(storages):
        raise FileFormatError(f"{origin}: the list of storages does not name those that the tensors use")
    for key in keys:
        flat = storages[key]
        count = int.from_bytes(stream.read(8), "little")
        if count != len(flat) or stream.readinto(flat.view(np.uint8).data) != flat.nbytes:
            raise FileFormatError(f"{origin}: storage {key[:40]} of {len(flat)} elements is cut off")
    return value


def _storage_reader(origin: str, contents: Callable[[str, np.dtype[Any], int], AnyArray]) -> StorageReader:
    """Persistent ids ("storage", type, key, device, elements[, view]) -> arrays, each read once."""
    arrays: dict[str, AnyArray] = {}

    def read_storage(pid: object) -> AnyArray:
        match pid:
            case ("storage", StorageType(dtype=dtype), str(key), str(), int(count), *rest) if (
                0 <= count < 1 << 63 and all(part is None for part in rest)
            ):
                if key not in arrays:
                    arrays[key] = contents(key, dtype, count)
                if arrays[key].dtype.newbyteorder("=") != dtype or len(arrays[key]) != count:
                    raise FileFormatError(f"{origin}: storage {key[:40]} is used with two types or sizes")
                return arrays[key]
        raise FileFormatError(
            f"{origin}: the pickle refers to data outside of it by a {type(pid).__name__} "
            "that names no storage of PyTorch"
        )

    return read_storage
