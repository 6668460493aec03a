"""Importer of any CSV or Parquet table with a column of architectures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from cgir.errors import FileFormatError
from frontends import spaces
from frontends.tables.parquet import SPEC, float_columns, read_arrow, require_columns
from frontends.tables.table import Table


def read_columns(path: Path, kind: str, space: str, spec: str) -> Table:
    """The table in a file: numbers and booleans become metrics, text text columns; other columns are refused by name.

    Args:
        path: .csv, .csv.gz or .parquet.
        kind: "csv" or "parquet".
        space: name of the search space.
        spec: the column with the spec strings.

    Raises:
        FileFormatError: the file cannot be read, or a column is neither of numbers nor of text.
    """
    search_space = spaces.get(space)
    if kind == "csv":
        options = pa.csv.ConvertOptions(column_types={spec: pa.string()}, strings_can_be_null=False)
        data = read_arrow(path, lambda: pa.csv.read_csv(path, convert_options=options))
    else:
        data = read_arrow(path, lambda: pa.parquet.read_table(path.absolute()))
    require_columns(path, data, (spec,))
    texts = {name: column for name in data.column_names if (column := _text(data[name])) is not None}
    if spec not in texts:
        raise FileFormatError(f"{path}: column {spec} holds {data[spec].type}, expected the text of architectures")
    if SPEC in data.column_names and spec != SPEC:
        raise FileFormatError(f"{path}: a column is called {SPEC!r}, which is where the architectures go; rename it")
    text_columns = {name: column for name, column in texts.items() if name != spec}
    columns = float_columns(path, data, texts)
    return Table(
        kind,
        texts[spec],
        {name: values.astype(np.float64) for name, values in columns.items()},
        search_space,
        text_columns=text_columns,
    )


def _text(column: pa.ChunkedArray) -> tuple[str, ...] | None:
    """The values of a text column, empty where missing."""
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return None
    return tuple(pc.fill_null(column, "").to_pylist())
