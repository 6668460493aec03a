"""Importers of official benchmark files: `import_table("nasbench201", file)` makes a label table of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from cgir.errors import FileFormatError, LabelError, SpecError
from cgir.limits import DEFAULT, Limits
from frontends.tables.table import Table

Reader = Callable[[Path, Limits], Table]


class ReaderEntry(NamedTuple):
    """A reader of one file format; it is imported on demand, like its space.

    Attributes:
        module: name below `frontends.tables.importers`.
        function: the `Reader` in it.
        files: names of its files, for messages.
    """

    module: str
    function: str
    files: str

    def load(self) -> Reader:
        """The reader."""
        reader: Reader = getattr(import_module(f".{self.module}", __package__), self.function)
        return reader


FILES_201 = "NATS-tss-*-simple or -full (folder, .tar), NATS-tss-*.pickle.pbz2, NAS-Bench-201-*.pth"
READERS = {
    "nasbench101": ReaderEntry("nasbench101", "read_nasbench101", "nasbench_only108.tfrecord, nasbench_full.tfrecord"),
    "nasbench201": ReaderEntry("nasbench201", "read_nasbench201", FILES_201),
    "nasbench301": ReaderEntry("nasbench301", "read_nasbench301", "nb_301_v13 (folder, .zip) of results_*.json"),
    "transnas_micro": ReaderEntry("transnas", "read_micro", "transnas-bench_v10141024.pth"),
    "transnas_macro": ReaderEntry("transnas", "read_macro", "transnas-bench_v10141024.pth"),
    "nasbench_nlp": ReaderEntry("nasbench_nlp", "read_nasbench_nlp", "logs (folder, .zip) of log_stats_model_*.json"),
}
COLUMN_FORMATS = {
    "csv": "any table, .csv or .csv.gz, with --space NAME --spec COLUMN",
    "parquet": "any table, with --space NAME --spec COLUMN",
}
FORMATS = {**{name: reader.files for name, reader in READERS.items()}, **COLUMN_FORMATS}


def import_table(
    kind: str, path: Path, space: str | None = None, spec: str | None = None, limits: Limits = DEFAULT
) -> Table:
    """The table in a benchmark's official file; every architecture is checked against its space.

    Args:
        kind: one of `FORMATS`.
        path: a file, folder or archive, as the format requires.
        space: for "csv" and "parquet", name of the search space.
        spec: for these, the column with the spec strings.
        limits: of what the file may take beyond its size.

    Raises:
        LabelError: no such format or file, or `space` and `spec` are missing where needed.
        LimitError: it would take more than `limits`.
        FileFormatError: the file is damaged, foreign, or contains what is refused; the message names the record.
    """
    try:
        return _import(kind, Path(path), space, spec, limits)
    except MemoryError as error:
        raise FileFormatError(f"{path}: its content takes more memory than there is") from error


def _import(kind: str, path: Path, space: str | None, spec: str | None, limits: Limits) -> Table:
    if kind not in FORMATS:
        raise LabelError(f"no format is called {kind!r}; there are {', '.join(FORMATS)}")
    if not path.exists():
        raise LabelError(f"{path} does not exist; {kind} is read from {FORMATS[kind]}")
    if kind in COLUMN_FORMATS:
        if not space or not spec:
            raise LabelError(
                f"{path}: which space, and which column has its architectures? Say --space NAME --spec COLUMN"
            )
        from .columns import read_columns

        table = read_columns(path, kind, space, spec, limits)
    else:
        if space or spec:
            raise LabelError(f"--space and --spec are for {' and '.join(COLUMN_FORMATS)}; the format {kind} knows both")
        table = READERS[kind].load()(path, limits)
    _check(path, table)
    metadata = {**table.metadata, "origin": f"{kind}: {path.name}"}
    return replace(table, name=path.name.partition(".")[0] or kind, metadata=metadata)


def _check(path: Path, table: Table) -> None:
    if not len(table):
        raise FileFormatError(f"{path}: no architectures in it")
    assert table.space is not None
    seen = set[str]()  # some bytes can stand for millions of rows with one text
    for row, text in enumerate(tqdm(table.spec_strings, desc="checking", unit="network", delay=1)):
        if text in seen:
            continue
        seen.add(text)
        try:
            table.space.parse(text)
        except SpecError as error:
            raise FileFormatError(f"{path}: row {row}: {error}") from error
