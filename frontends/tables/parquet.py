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
from cgir.checksums import PARQUET_KEY, UNSEALED, check_parquet, note_missing, seal_parquet
from cgir.errors import FileFormatError, LabelError, SpecError, one_line
from cgir.limits import DEFAULT, Limits
from cgir.typing import FloatArray
from frontends import spaces

from .safe_load.archive_members import DAMAGED
from .table import Table

FAMILY, SPEC = "family", "spec"  # columns
ENTRY = b"cgir"  # of the schema's metadata
MOST_COLUMNS = 10_000
BYTES_OF_CELL = 8
BYTES_OF_TEXT = 64  # of a Python string beyond its characters


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
    data = data.replace_schema_metadata({ENTRY: json.dumps(metadata), PARQUET_KEY: UNSEALED})
    with atomic_path(file) as path:
        pa.parquet.write_table(data, path.absolute(), compression="zstd", write_page_checksum=True)
        seal_parquet(path)


def read_table(file: Path, name: str = "", limits: Limits = DEFAULT) -> Table:
    """The table in a Parquet file of `write_table`, or of `benchmarks/digits.py` (several families).

    Args:
        file: the file.
        name: of the table; default the file's.
        limits: of what it may take beyond its size.

    Raises:
        LabelError: there is no such file.
        LimitError: it would take more than `limits`.
        FileFormatError: it cannot be read, or is not such a file.
    """
    if not file.is_file():
        raise LabelError(f"{file} does not exist")
    data = read_parquet(file, limits)
    metadata = _metadata(file, data)
    if "space" not in metadata and "skeletons" not in metadata:
        raise FileFormatError(
            f"{file}: no entry 'cgir' in the schema's metadata that names a space, "
            "as `cgir tables import` and `benchmarks.digits` write"
        )
    if PARQUET_KEY.encode() not in data.schema.metadata:
        note_missing(file, "frontends.tables.write_table gives it one")
    if "skeletons" in metadata:
        require_columns(file, data, (FAMILY, SPEC))
        columns = float_columns(file, data, (FAMILY, SPEC))
        families = strings(file, data, FAMILY)
        _check_skeletons(file, families, metadata["skeletons"])
        return Table(name or file.stem, strings(file, data, SPEC), columns, None, families, metadata)
    require_columns(file, data, (SPEC,))
    texts = [column for column in data.column_names if column != SPEC and pa.types.is_string(data[column].type)]
    return Table(
        name or file.stem,
        strings(file, data, SPEC),
        float_columns(file, data, (SPEC, *texts)),
        _space(file, metadata["space"], metadata.get("skeleton", {})),
        metadata=metadata,
        text_columns={column: strings(file, data, column) for column in texts},
    )


def _metadata(file: Path, data: pa.Table) -> dict[str, Any]:
    try:
        metadata = json.loads((data.schema.metadata or {}).get(ENTRY, b"{}"))
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{file}: the entry 'cgir' in the schema's metadata is not JSON ({error})") from error
    return metadata if isinstance(metadata, dict) else {}


def _check_skeletons(file: Path, families: Collection[str], skeletons: object) -> None:
    if not isinstance(skeletons, dict):
        raise FileFormatError(f"{file}: its skeletons are a {type(skeletons).__name__}, expected one of each family")
    for family in sorted(set(families)):
        if family not in skeletons:
            raise FileFormatError(f"{file}: no skeleton of the family {family[:60]!r}; it has {', '.join(skeletons)}")
        _space(file, family, skeletons[family])


def _space(file: Path, name: object, skeleton: object) -> spaces.Space[Any]:
    if not isinstance(name, str) or not isinstance(skeleton, dict):
        raise FileFormatError(f"{file}: its space is not given by a name and the fields of a skeleton")
    try:
        return spaces.get(name, **skeleton)
    except SpecError as error:
        raise FileFormatError(f"{file}: {error}") from error


def read_parquet(file: Path, limits: Limits = DEFAULT) -> pa.Table:
    """A Parquet file of numbers and texts, checked before it is read; dictionaries of texts become texts.

    A few bytes can stand for a thousand million rows, and a long text for each of them.

    Raises:
        LimitError: it would take more than its size and `limits`.
        FileFormatError: damaged, or with other columns.
    """

    def read() -> pa.Table:
        check_parquet(file)
        with pa.parquet.ParquetFile(file.absolute()) as found:
            schema = found.schema_arrow
            texts = _check_schema(file, schema)
            _check_rows(file, found.metadata, limits)
        with pa.parquet.ParquetFile(file.absolute(), read_dictionary=texts, page_checksum_verification=True) as found:
            return _read_columns(file, found.reader, schema, limits)

    return read_arrow(file, read)


def _check_rows(file: Path, metadata: pa.parquet.FileMetaData, limits: Limits) -> None:
    """Refuse more rows than a table of this size has; each part of a file states its own, and is believed."""
    parts = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    rows, size = max(metadata.num_rows, sum(part.num_rows for part in parts)), file.stat().st_size
    limits.check("nodes", rows - size, f"{file}: {rows:,} rows, each a node, in {size:,} bytes")
    limits.check("bytes", rows * metadata.num_columns * BYTES_OF_CELL - size, f"{file}: {rows:,} rows")
    limits.check("bytes", sum(part.total_byte_size for part in parts) - size, f"{file}: its columns")


def _read_columns(file: Path, reader: Any, schema: pa.Schema, limits: Limits) -> pa.Table:
    """All columns, one after the other: a part of a few bytes can stand for a gigabyte."""
    columns, size, held = [], file.stat().st_size, 0
    for index, field in enumerate(schema):
        column = reader.read_column(index)
        column.validate(full=True)
        if pa.types.is_dictionary(column.type) or not any(check(column.type) for check in NUMBERS):
            column = _plain_texts(file, field.name, column, held, limits)
        held += column.nbytes
        limits.check("bytes", held - size, f"{file}: its columns up to {field.name[:60]!r}")
        columns.append(column)
    return pa.table(columns, schema.names).replace_schema_metadata(schema.metadata)


def _check_schema(file: Path, schema: pa.Schema) -> list[str]:
    """Refuse columns that are neither numbers nor text, and names that occur twice; return the names of texts."""
    names = schema.names
    if len(set(names)) < len(names) or len(names) > MOST_COLUMNS:
        raise FileFormatError(f"{file}: {len(names)} columns, {len(set(names))} names; expected one name each")
    texts = []
    for field in schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            texts.append(field.name)
        elif not any(check(field.type) for check in NUMBERS):
            raise FileFormatError(f"{file}: column {field.name} holds {field.type}, expected numbers or text")
    return texts


NUMBERS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal, pa.types.is_null)


def _plain_texts(file: Path, name: str, column: pa.ChunkedArray, held: int, limits: Limits) -> pa.ChunkedArray:
    """A column of text without its dictionary, if what that repeats is not too much beside the bytes already held."""
    claimed = held
    for chunk in column.chunks:
        dictionary = chunk.dictionary if pa.types.is_dictionary(chunk.type) else chunk
        lengths = pc.binary_length(dictionary).cast(pa.int64())
        if pa.types.is_dictionary(chunk.type):
            lengths = lengths.take(chunk.indices)
        claimed += 2 * (pc.sum(lengths).as_py() or 0) + BYTES_OF_TEXT * len(chunk)  # for Arrow and for Python
    limits.check("bytes", claimed - file.stat().st_size, f"{file}: the texts of column {name[:60]!r}")
    return pc.cast(column, pa.string())


def read_arrow(file: Path, read: Callable[[], pa.Table]) -> pa.Table:
    """The table that `read` returns; its errors name the file, in one line."""
    try:
        return read()
    except FileFormatError:
        raise
    except (*DAMAGED, pa.ArrowException) as error:
        reason = one_line(error)
        raise FileFormatError(f"{file}: cannot be read as a label table ({reason})") from error


def strings(file: Path, data: pa.Table, column: str) -> tuple[str, ...]:
    """A column of text, empty where missing.

    Args:
        file: for errors.
        data: what was read from it.
        column: its name.

    Raises:
        FileFormatError: it holds something else, or bytes that are no UTF-8.
    """
    try:
        return tuple(pc.fill_null(data[column].cast(pa.string()), "").to_pylist())
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise FileFormatError(
            f"{file}: column {column} holds {data[column].type} that is no text ({one_line(error)})"
        ) from error


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
    for column in columns:
        if data.column_names.count(column) > 1:
            raise FileFormatError(f"{file}: {data.column_names.count(column)} columns are called {column}")


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
            raise FileFormatError(
                f"{file}: column {column} holds {data[column].type}, expected numbers ({one_line(error, 100)})"
            ) from error
        columns[column] = values.to_numpy().astype(np.float64)
    return columns
