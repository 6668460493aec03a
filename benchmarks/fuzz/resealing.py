"""Files that were made wrong, with checksums that are right again, so that what is behind a checksum is reached."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from numpy.random import Generator
from safetensors.torch import save
from torch import Tensor

from cgir.checksums import KEY, PARQUET_KEY, UNSEALED, checksum, seal_parquet
from encoders.models.checkpoints import covered

from .mutation import mutate_bytes, mutate_json


def json_bytes(value: Any, seal: bool = True, indent: int | None = None) -> bytes:
    """Any JSON value, also one that is not finite, with a checksum if it is an object."""
    if isinstance(value, dict) and seal:
        value = {**{key: entry for key, entry in value.items() if key != KEY}, KEY: UNSEALED}
    data = (json.dumps(value, indent=indent) + "\n").encode()
    at = data.rfind(f'"{KEY}": "{UNSEALED}"'.encode())
    if at < 0 or not seal:
        return data
    at += len(KEY) + 5
    return data[:at] + checksum([data]).encode() + data[at + 8 :]


def mutated_json(rng: Generator, data: bytes, indent: int | None = None) -> bytes:
    """The bytes of a JSON file with wrong bytes, or with wrong values; most with the checksum of these."""
    kind = rng.random()
    if kind < 0.25:
        return mutate_bytes(rng, data)
    try:
        if kind < 0.5:
            return json_bytes(json.loads(mutate_bytes(rng, data, 3)), indent=indent)
        return json_bytes(mutate_json(rng, json.loads(data), 2), seal=rng.random() < 0.9, indent=indent)
    except (ValueError, RecursionError):  # no JSON any more, or of numbers with too many digits
        return mutate_bytes(rng, data, 1)


def write_weights(path: Path, card: str, tensors: Mapping[str, Tensor]) -> None:
    """A file as `encoders.models.checkpoints.write_tensors` makes it, with any text as its description."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(save(dict(tensors), {"cgir": card, KEY: checksum(covered(card, tensors))}))


def write_parquet(path: Path, table: pa.Table, metadata: Mapping[bytes, bytes]) -> None:
    """A file as data sets have them, of any columns and metadata."""
    with pq.ParquetWriter(
        path, table.schema.remove_metadata(), compression="zstd", write_page_checksum=True, store_schema=False
    ) as writer:
        writer.write_table(table.replace_schema_metadata(None))
        writer.add_key_value_metadata({**metadata, PARQUET_KEY.encode(): UNSEALED.encode()})
    seal_parquet(path)


def reseal_parquet(path: Path) -> None:
    """The checksum of a footer whose bytes were changed, where that still has one."""
    data = path.read_bytes()
    entry = PARQUET_KEY.encode() + rb"\x18\x08"
    path.write_bytes(re.sub(entry + b"[0-9a-f]{8}", entry.replace(rb"\x18\x08", b"\x18\x08") + UNSEALED.encode(), data))


def zipped(members: Mapping[str, bytes], method: int) -> bytes:
    """A zip archive of these members, packed by a method of `zipfile`, with right checksums."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return stream.getvalue()
