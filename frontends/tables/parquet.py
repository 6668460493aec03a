"""Label tables as Parquet files: a column of spec strings, columns of metrics and of text.

The schema's metadata entry "cgir" names the search space and its skeleton.
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

FAMILY, SPEC = "family", "spec"  # columns
ENTRY = b"cgir"  # of the schema's metadata


def write_table(table: Table, file: Path) -> None:
    """Write a table of one space atomically; `read_table` and every reader of Parquet open it.

    Columns: `spec` text, one float64 column a metric (empty: missing), and the text columns. The schema's entry "cgir"
    is JSON: `space`, its `skeleton`, and the table's other metadata, such as the `origin`.

    Raises:
        LabelError: the table has several spaces or none.
    """
    if table.space is None:
        raise LabelError(f"table {table.name!r} has no space of its own; write one family of it")
    numbers = {metric: pa.array(values, from_pandas=True) for metric, values in table.columns.items()}
    texts = {name: pa.array(values, pa.string()) for name, values in table.text_columns.items()}
    skeleton = {field.name: getattr(table.space, field.name) for field in fields(table.space)}  # type: ignore[arg-type]
    metadata = {
        "space": table.space.name,
        "skeleton": skeleton,
        **{key: value for key, value in table.metadata.items() if key not in ("space", "skeleton")},
    }
    data = pa.table({SPEC: pa.array(table.spec_strings, pa.string()), **texts, **numbers})
    data = data.replace_schema_metadata({ENTRY: json.dumps(metadata)})
    with atomic_path(file) as path:
        pa.parquet.write_table(data, path.absolute(), compression="zstd")


def read_table(file: Path, name: str = "") -> Table:
    """The table in a Parquet file of `write_table`, or of `benchmarks/digits.py` (several families).

    Raises:
        LabelError: there is no such file.
        FileFormatError: it cannot be read, or is not such a file.
    """
    if not file.is_file():
        raise LabelError(f"{file} does not exist")
    data = read_arrow(file, lambda: pa.parquet.read_table(file.absolute()))
    metadata = _metadata(file, data)
    if "skeletons" in metadata:
        require_columns(file, data, (FAMILY, SPEC))
        columns = float_columns(file, data, (FAMILY, SPEC))
        families = tuple(data[FAMILY].to_pylist())
        return Table(name or file.stem, tuple(data[SPEC].to_pylist()), columns, None, families, metadata)
    if "space" not in metadata:
        raise FileFormatError(
            f"{file}: no entry 'cgir' in the schema's metadata that names a space, "
            "as `cgir tables import` and `benchmarks.digits` write"
        )
    require_columns(file, data, (SPEC,))
    texts = [column for column in data.column_names if column != SPEC and pa.types.is_string(data[column].type)]
    return Table(
        name or file.stem,
        tuple(data[SPEC].to_pylist()),
        float_columns(file, data, (SPEC, *texts)),
        spaces.get(metadata["space"], **metadata.get("skeleton", {})),
        metadata=metadata,
        text_columns={column: tuple(data[column].to_pylist()) for column in texts},
    )


def _metadata(file: Path, data: pa.Table) -> dict[str, Any]:
    try:
        metadata = json.loads((data.schema.metadata or {}).get(ENTRY, b"{}"))
    except ValueError as error:
        raise FileFormatError(f"{file}: the entry 'cgir' in the schema's metadata is not JSON ({error})") from error
    return metadata if isinstance(metadata, dict) else {}


def read_arrow(file: Path, read: Callable[[], pa.Table]) -> pa.Table:
    """The table that `read` returns; its errors name the file, in one line."""
    try:
        return read()
    except (OSError, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise FileFormatError(f"{file}: cannot be read as a label table ({reason})") from error


def require_columns(file: Path, data: pa.Table, columns: Collection[str]) -> None:
    """Refuse a file without these columns.

    Args:
        file: for errors.
        data: what was read from it.
        columns: names.

    Raises:
        FileFormatError: a column is missing.
    """
    missing = [column for column in columns if column not in data.column_names]
    if missing:
        raise FileFormatError(f"{file}: no column {', '.join(missing)}; found {', '.join(data.column_names)}")


def float_columns(file: Path, data: pa.Table, excluded: Collection[str]) -> dict[str, FloatArray]:
    """All columns but `excluded`, as float64 (N,), nan where empty.

    Args:
        file: for errors.
        data: what was read from it.
        excluded: names of columns that are left out.

    Raises:
        FileFormatError: a column does not hold numbers.
    """
    columns = {}
    for column in (name for name in data.column_names if name not in excluded):
        try:
            values = pc.cast(data[column], pa.float64())
        except pa.ArrowException as error:
            raise FileFormatError(f"{file}: column {column} holds {data[column].type}, expected numbers") from error
        columns[column] = values.to_numpy().astype(np.float64)
    return columns
