"""Importer of any CSV or Parquet table with a column of architectures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from cgir.errors import FileFormatError
from cgir.limits import DEFAULT, Limits
from frontends import spaces
from frontends.tables.csv_reader import read_csv
from frontends.tables.parquet import SPEC, float_columns, read_parquet, require_columns, strings
from frontends.tables.table import Table


def read_columns(path: Path, kind: str, space: str, spec: str, limits: Limits = DEFAULT) -> Table:
    """The table in a file: numbers and booleans become metrics, text text columns; other columns are refused by name.

    Args:
        path: .csv, .csv.gz or .parquet.
        kind: "csv" or "parquet".
        space: name of the search space.
        spec: the column with the spec strings.
        limits: of what the file may take beyond its size.

    Raises:
        FileFormatError: the file cannot be read, or a column is neither of numbers nor of text.
    """
    search_space = spaces.get(space)
    data = read_csv(path, (spec,)) if kind == "csv" else read_parquet(path, limits)
    require_columns(path, data, (spec,))
    texts = {name: strings(path, data, name) for name in data.column_names if pa.types.is_string(data[name].type)}
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
