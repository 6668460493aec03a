"""Official benchmark files -> tables. `import_table("nasbench201", file)` is the only door; a reader is a function
`Path -> Table`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from tqdm import tqdm

from cgir.errors import FileFormatError, LabelError, SpecError
from frontends.tables.table import Table

# Imported on demand, like the spaces they lead to.
READERS = {
    "nasbench101": ("nasbench101", "read_nasbench101", "nasbench_only108.tfrecord, nasbench_full.tfrecord"),
    "nasbench201": (
        "nasbench201",
        "read_nasbench201",
        "NATS-tss-*-simple or -full (folder, .tar), NATS-tss-*.pickle.pbz2, NAS-Bench-201-*.pth",
    ),
    "nasbench301": ("nasbench301", "read_nasbench301", "nb_301_v13 (folder, .zip) of results_*.json"),
    "transnas_micro": ("transnas", "read_micro", "transnas-bench_v10141024.pth"),
    "transnas_macro": ("transnas", "read_macro", "transnas-bench_v10141024.pth"),
    "nasbench_nlp": ("nasbench_nlp", "read_nasbench_nlp", "logs (folder, .zip) of log_stats_model_*.json"),
}
COLUMNS = {
    "csv": "any table, .csv or .csv.gz, with --space NAME --spec COLUMN",
    "parquet": "any table, with --space NAME --spec COLUMN",
}
FORMATS = {**{name: files for name, (_, _, files) in READERS.items()}, **COLUMNS}


def import_table(kind: str, path: Path, space: str | None = None, spec: str | None = None) -> Table:
    """The table in a benchmark's official file; every architecture is checked against its space.

    Args:
        kind: one of `FORMATS`.
        path: a file, folder or archive, as the format has it.
        space: for "csv" and "parquet", which space the architectures belong to.
        spec: for these, the column with the architectures, in the space's text form.

    Raises:
        LabelError: no such format or file, or `space` and `spec` are missing where needed.
        FileFormatError: the file is damaged, foreign, or asks for what is refused; the message names the record.
    """
    if kind not in FORMATS:
        raise LabelError(f"no format is called {kind!r}; there are {', '.join(FORMATS)}")
    if not path.exists():
        raise LabelError(f"{path} does not exist; {kind} is read from {FORMATS[kind]}")
    if kind in COLUMNS:
        if not space or not spec:
            raise LabelError(
                f"{path}: which space, and which column has its architectures? Say --space NAME --spec COLUMN"
            )
        from .columns import read_columns

        table = read_columns(path, kind, space, spec)
    else:
        if space or spec:
            raise LabelError(f"--space and --spec are for {' and '.join(COLUMNS)}; the format {kind} knows both")
        module, name, _ = READERS[kind]
        reader: Callable[[Path], Table] = getattr(import_module(f".{module}", __package__), name)
        table = reader(path)
    _check(path, table)
    return replace(
        table, name=path.name.partition(".")[0] or kind, metadata={**table.metadata, "origin": f"{kind}: {path.name}"}
    )


def _check(path: Path, table: Table) -> None:
    if not len(table):
        raise FileFormatError(f"{path}: no architectures in it")
    assert table.space is not None
    for row, text in enumerate(tqdm(table.spec_strings, desc="checking", unit="network", delay=1)):
        try:
            table.space.parse(text)
        except SpecError as error:
            raise FileFormatError(f"{path}: row {row}: {error}") from error
