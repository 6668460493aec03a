"""What `cgir tables` does, as text for the command line to print."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

from cgir.errors import CgirError
from cgir.store.graph_store import GraphStore
from frontends.tables import NAMES, SOURCES, load, write_table
from frontends.tables.importers import import_table
from frontends.tables.published import find


def listing(path: Path | None) -> str:
    """A line for each label table: rows, metrics, and where it lies or what is missing."""
    lines = [f"{'table':18}{'rows':>8}  {'metrics':>7}  where"]
    for name in NAMES:
        try:
            table = load(name, None if name == "digits" else path)
        except CgirError as error:
            lines.append(f"{name:18}{'-':>8}  {'-':>7}  {error}")
        else:
            where = "in the package" if name == "digits" else str(find(SOURCES[name], path))
            lines.append(f"{name:18}{len(table):8,}  {len(table.metrics):7}  {where}")
    return "\n".join(
        [*lines, "", 'open one with frontends.tables.load("nasbench201"); what to mind of each: help(frontends.tables)']
    )


def imported(kind: str, file: Path, output: Path | None, space: str | None, spec: str | None) -> str:
    """Make a table of an official file and write it; what was written, in a line.

    Args:
        kind: the format, one of `importers.FORMATS`.
        file: the official file, folder or archive.
        output: the Parquet file to write; by default named like `file`, in the working directory.
        space: for "csv" and "parquet", the search space.
        spec: for these, the column of architectures.
    """
    start = perf_counter()
    table = import_table(kind, file, space, spec)
    target = output or Path(f"{table.name}.parquet")
    if target.suffix != ".parquet":
        target = target.with_name(f"{target.name}.parquet")
    write_table(table, target)
    assert table.space is not None
    seconds = perf_counter() - start
    size = target.stat().st_size / 1e6
    return (
        f"{target}: {len(table):,} rows of {table.space.name}, {len(table.metrics)} metrics, {size:.1f} MB, in {seconds:.0f} s\n"
        f'open it with frontends.tables.load("{target}")'
    )


def graphs(name: str, path: Path | None, output: Path) -> str:
    """Write a data set of a table's networks with all its metrics as labels; what was written, in a line.

    Args:
        name: a table, or a Parquet file that `cgir tables import` wrote.
        path: the folder with the published tables.
        output: a .parquet file, or a folder.
    """
    start, table = perf_counter(), load(name, path)
    family = table.families or (table.space.name if table.space else table.name)
    GraphStore.write(output, table.graphs(), family=family, specs=table.spec_strings, labels=table.columns)
    return f"{output}: {len(table):,} networks with {', '.join(table.metrics)}, in {perf_counter() - start:.0f} s"
