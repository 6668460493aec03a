"""Label tables as Parquet files: a column of texts, columns of numbers and of text, and in the schema's entry "cgir"
what they belong to.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from cgir.atomic_files import atomic_path
from cgir.errors import FileFormatError, LabelError
from cgir.typing import FloatArray
from frontends import spaces

from .table import Table

FAMILY, SPEC, ENTRY = "family", "spec", b"cgir"


def write_table(table: Table, file: Path) -> None:
    """Write a table of one space, whole or not at all; `read_table` and every reader of Parquet open it.

    Columns: `spec` text, one float64 column a metric (empty: missing), one text column a group. The schema's entry
    "cgir" is JSON: `space`, its `skeleton`, and what else is known, such as the `origin`.
    """
    if table.space is None:
        raise LabelError(f"table {table.name!r} has no space of its own; write one family of it")
    numbers = {metric: pa.array(values, from_pandas=True) for metric, values in table.columns.items()}
    texts = {name: pa.array(values, pa.string()) for name, values in table.text_columns.items()}
    skeleton = {field.name: getattr(table.space, field.name) for field in fields(table.space)}  # type: ignore[arg-type]
    about = {
        "space": table.space.name,
        "skeleton": skeleton,
        **{k: v for k, v in table.metadata.items() if k not in ("space", "skeleton")},
    }
    data = pa.table({SPEC: pa.array(table.spec_strings, pa.string()), **texts, **numbers}).replace_schema_metadata(
        {ENTRY: json.dumps(about)}
    )
    with atomic_path(file) as path:
        pa.parquet.write_table(data, path, compression="zstd")


def read_table(file: Path, name: str = "") -> Table:
    """The table in a Parquet file of `write_table`, or of `benchmarks/digits.py` (several families).

    Raises:
        LabelError: there is no such file.
        FileFormatError: it cannot be read, or is not such a file.
    """
    if not file.is_file():
        raise LabelError(f"{file} does not exist")
    data = read_arrow(file, lambda: pa.parquet.read_table(file))
    about = _about(file, data)
    if "skeletons" in about:
        require(file, data, (FAMILY, SPEC))
        columns = numbers(file, data, (FAMILY, SPEC))
        return Table(
            name or file.stem, tuple(data[SPEC].to_pylist()), columns, None, tuple(data[FAMILY].to_pylist()), about
        )
    if "space" not in about:
        raise FileFormatError(
            f"{file}: no entry 'cgir' in the schema's metadata that names a space, as `cgir tables import` and `benchmarks.digits` write"
        )
    require(file, data, (SPEC,))
    groups = [column for column in data.column_names if column != SPEC and pa.types.is_string(data[column].type)]
    space = spaces.get(about["space"], **about.get("skeleton", {}))
    texts = {column: tuple(data[column].to_pylist()) for column in groups}
    return Table(
        name or file.stem, tuple(data[SPEC].to_pylist()), numbers(file, data, (SPEC, *groups)), space, (), about, texts
    )


def _about(file: Path, data: pa.Table) -> dict[str, Any]:
    try:
        about = json.loads((data.schema.metadata or {}).get(ENTRY, b"{}"))
    except ValueError as error:
        raise FileFormatError(f"{file}: the entry 'cgir' in the schema's metadata is not JSON ({error})") from error
    return about if isinstance(about, dict) else {}


def read_arrow(file: Path, read: Callable[[], pa.Table]) -> pa.Table:
    """What `read` gives; its errors name the file, in one line."""
    try:
        return read()
    except (OSError, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise FileFormatError(f"{file}: cannot be read as a label table ({reason})") from error


def require(file: Path, data: pa.Table, columns: Collection[str]) -> None:
    """Refuse a file without these columns."""
    missing = [column for column in columns if column not in data.column_names]
    if missing:
        raise FileFormatError(f"{file}: no column {', '.join(missing)}; found {', '.join(data.column_names)}")


def numbers(file: Path, data: pa.Table, others: Collection[str]) -> dict[str, FloatArray]:
    """All columns but `others`, as float64, nan where empty."""
    columns = {}
    for column in (name for name in data.column_names if name not in others):
        try:
            values = pc.cast(data[column], pa.float64())
        except pa.ArrowException as error:
            raise FileFormatError(f"{file}: column {column} holds {data[column].type}, expected numbers") from error
        columns[column] = values.to_numpy().astype(np.float64)
    return columns
