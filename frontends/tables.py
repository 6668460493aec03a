"""Label tables: architectures of a search space with what training them gave. `load("nasbench201")["cifar10_test_200ep_mean"]`.

The published tables are read from a folder (`path=`, else the environment variable CGIR_DATA) that holds these gzip CSV files; they were
measured by the benchmarks' authors and by the people named, and are not part of this project:

* nasbench201.csv.gz: all 15,625 cells (Dong & Yang 2020). Accuracies in percent. Only `cifar10_test_200ep_mean` is a mean over the
  available seeds; the other 200-epoch columns are one seed, `cifar10valid_oritest` trained on half the training set, and which half of the
  held-out images `cifar100_heldout5k` and `imagenet16_120_heldout3k` used is not known. 12-epoch columns are never final accuracies.
  5,425 canonical graphs are distinct: print scores also without cells isomorphic to a training cell.
* nasbench101.csv.gz: 20,001 cells, a uniform random 4.7 % (Ying et al. 2019). CIFAR-10 *validation* accuracy (no test accuracy),
  fractions, one run, after 4/12/36/108 epochs. The order of vertices is such that the channel split gives `trainable_parameters`.
* nasbench_macro_cifar10.csv.gz: all 6,561 networks (Su et al. 2021), CIFAR-10 test accuracy in percent, 3 seeds and their mean.

"digits" is the embedded set of this project, in the package, no folder needed: 3 families of 250 networks trained on scikit-learn's
8x8 digits by `benchmarks/digits.py`. Few images and a short schedule, on purpose: longer training leaves no differences to rank. Its
networks are small versions of the spaces, so its accuracies say nothing about CIFAR-10. `Table.about` has the measured seed-to-seed rank agreement.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from cgir.errors import FileFormatError, LabelError

from . import spaces

FAMILY, SPEC = "family", "spec"


class Source(NamedTuple):
    """Where a published table lies, the columns that make up its strings, and what joins them."""

    file: str
    columns: tuple[str, ...]
    identifiers: tuple[str, ...] = ()


SOURCES = {
    "nasbench101": Source("nasbench101.csv.gz", ("adjacency_rowmajor", "interior_ops"), ("module_hash",)),
    "nasbench201": Source("nasbench201.csv.gz", ("arch_str",), ("nb201_index",)),
    "nasbench_macro": Source("nasbench_macro_cifar10.csv.gz", ("arch_code8",)),
}
NAMES = (*SOURCES, "digits")


@dataclass(frozen=True)
class Table:
    """Architectures and their metrics. `texts[i]` is in the form of `space.parse`; `table["metric"]` float64 (N,), nan where missing.

    `space` has the skeleton the labels were measured with. In "digits" `space` is None: take `family(name)`, a table of one space.
    """

    name: str
    texts: tuple[str, ...]
    columns: dict[str, NDArray[np.float64]] = field(repr=False)
    space: spaces.Space[Any] | None = None
    families: tuple[str, ...] = field(default=(), repr=False)
    about: dict[str, Any] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the numeric columns."""
        return tuple(self.columns)

    def __getitem__(self, metric: str) -> NDArray[np.float64]:
        """The column `metric`, a copy.

        Raises:
            LabelError: the table has no such column.
        """
        if metric not in self.columns:
            raise LabelError(f"table {self.name!r} has no metric {metric!r}; it has {', '.join(self.metrics)}")
        return self.columns[metric].copy()

    @cached_property
    def specs(self) -> tuple[Hashable, ...]:
        """All `texts`, parsed on first use."""
        if self.space is None:
            return tuple(self._space_of(family).parse(text) for family, text in zip(self.families, self.texts, strict=True))
        return tuple(map(self.space.parse, self.texts))

    def family(self, name: str) -> Table:
        """The rows of one family, with its space."""
        if name not in self.families:
            raise LabelError(f"table {self.name!r} has no family {name!r}; it has {', '.join(dict.fromkeys(self.families)) or 'none'}")
        rows = np.flatnonzero(np.asarray(self.families) == name)
        columns = {metric: values[rows] for metric, values in self.columns.items()}
        return Table(f"{self.name}/{name}", tuple(self.texts[i] for i in rows), columns, self._space_of(name), (name,) * len(rows), self.about)

    def _space_of(self, family: str) -> spaces.Space[Any]:
        return spaces.get(family, **self.about["skeletons"][family])


def load(name: str, path: str | os.PathLike[str] | None = None) -> Table:
    """A label table.

    Args:
        name: "nasbench101", "nasbench201", "nasbench_macro" or "digits".
        path: the folder with the published tables, or one file in its format; default $CGIR_DATA. "digits" is in the package: here another file.

    Raises:
        LabelError: no such table, or its file is nowhere to be found.
        FileFormatError: the file cannot be read, or lacks the columns with the architectures.
    """
    if name not in NAMES:
        raise LabelError(f"no label table is called {name!r}; there are {', '.join(NAMES)}")
    if name == "digits":
        return _digits(Path(path) if path is not None else Path(str(files("frontends") / "data" / "digits.parquet")))
    source = SOURCES[name]
    file = _find(source, path)
    strings = dict.fromkeys((*source.columns, *source.identifiers), pa.string())
    data = _read(file, lambda: pa.csv.read_csv(file, convert_options=pa.csv.ConvertOptions(column_types=strings, strings_can_be_null=False)))
    _require(file, data, source.columns)
    texts = map(":".join, zip(*(data[column].to_pylist() for column in source.columns), strict=True))
    return Table(name, tuple(texts), _numbers(file, data, strings), spaces.get(name))


def _digits(file: Path) -> Table:
    if not file.is_file():
        raise LabelError(f"{file} does not exist; build it with `python -m benchmarks.digits --out {file}`")
    data = _read(file, lambda: pa.parquet.read_table(file))
    _require(file, data, (FAMILY, SPEC))
    about = json.loads((data.schema.metadata or {}).get(b"cgir", b"{}"))
    if "skeletons" not in about:
        raise FileFormatError(f"{file}: no 'cgir' entry with skeletons in the schema's metadata; build the file with `python -m benchmarks.digits`")
    return Table("digits", tuple(data[SPEC].to_pylist()), _numbers(file, data, (FAMILY, SPEC)), None, tuple(data[FAMILY].to_pylist()), about)


def _find(source: Source, path: str | os.PathLike[str] | None) -> Path:
    folder = path if path is not None else os.environ.get("CGIR_DATA")
    if not folder:
        raise LabelError(f"where is {source.file}? Set the environment variable CGIR_DATA to the folder with the label tables, or give path=")
    file = Path(folder) / source.file if Path(folder).is_dir() else Path(folder)
    if not file.is_file():
        raise LabelError(f"{file} does not exist; path= or CGIR_DATA must be a folder that holds {source.file}, or the file itself")
    return file


def _read(file: Path, read: Callable[[], pa.Table]) -> pa.Table:
    try:
        return read()
    except (OSError, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise FileFormatError(f"{file}: cannot be read as a label table ({reason})") from error


def _require(file: Path, data: pa.Table, columns: tuple[str, ...]) -> None:
    missing = [column for column in columns if column not in data.column_names]
    if missing:
        raise FileFormatError(f"{file}: no column {', '.join(missing)}; found {', '.join(data.column_names)}")


def _numbers(file: Path, data: pa.Table, others: Iterable[str]) -> dict[str, NDArray[np.float64]]:
    columns = {}
    for column in (name for name in data.column_names if name not in set(others)):
        try:
            values = pc.cast(data[column], pa.float64())
        except pa.ArrowException as error:
            raise FileFormatError(f"{file}: column {column} holds {data[column].type}, expected numbers") from error
        columns[column] = values.to_numpy().astype(np.float64)
    return columns
