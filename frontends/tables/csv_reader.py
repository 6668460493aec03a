"""Reader of CSV files, packed by gzip or not, as Arrow tables."""

from __future__ import annotations

import re
from io import BufferedReader
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from cgir.errors import FileFormatError

from .parquet import MOST_COLUMNS, read_arrow
from .safe_load.archive_members import open_gzip

BLOCK = 1 << 20  # bytes that Arrow reads at once; a row must be shorter


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
        with _opened(file) as stream:
            columns = _first_line(stream.read(BLOCK)).count(b",") + 1  # those in quotes, too
        if columns > MOST_COLUMNS:  # Arrow takes a megabyte for every hundred, and gives up the process at a million
            raise FileFormatError(f"{file}: {columns:,} columns, expected at most {MOST_COLUMNS:,}")
        with _opened(file) as stream:
            options = pa.csv.ReadOptions(block_size=BLOCK)
            data = pa.csv.read_csv(pa.PythonFile(stream, "r"), options, convert_options=convert)
        names = data.column_names  # fails where a name is no UTF-8
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise FileFormatError(f"{file}: two columns are called {twice[:60]!r}")
        return data

    return read_arrow(file, read)


def _opened(file: Path) -> BufferedReader:
    return open_gzip(file) if file.suffix == ".gz" else file.open("rb")


def _first_line(block: bytes) -> bytes:
    return re.split(rb"[\r\n]", block.lstrip(b"\r\n"), maxsplit=1)[0]
