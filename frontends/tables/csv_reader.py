"""Reader of CSV files, packed by gzip or not, as Arrow tables."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from cgir.errors import FileFormatError

from .parquet import MOST_COLUMNS, read_arrow
from .safe_load.archive_members import open_gzip


def read_csv(file: Path, texts: tuple[str, ...]) -> pa.Table:
    """A CSV file.

    Args:
        file: .csv, or .csv.gz.
        texts: columns that are text even if they look like numbers.

    Raises:
        FileFormatError: it cannot be read, or two columns have one name.
    """
    convert = pa.csv.ConvertOptions(column_types=dict.fromkeys(texts, pa.string()), strings_can_be_null=False)

    def read() -> pa.Table:
        with open_gzip(file) if file.suffix == ".gz" else file.open("rb") as stream:
            columns = stream.peek(1 << 16).partition(b"\n")[0].count(b",")
            if columns <= MOST_COLUMNS:
                data = pa.csv.read_csv(pa.PythonFile(stream, "r"), convert_options=convert)
                columns = len(data.column_names)
        if columns > MOST_COLUMNS:
            raise FileFormatError(f"{file}: {columns:,} columns, expected at most {MOST_COLUMNS:,}")
        return data

    data = read_arrow(file, read)
    names = data.column_names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise FileFormatError(f"{file}: two columns are called {twice[:60]!r}")
    return data
