"""The published tables as they lie in a folder: gzip CSV, and JSON lines for NAS-Bench-NLP."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from cgir.errors import FileFormatError, LabelError
from frontends import spaces

from .importers.record_columns import columns_of, compact, naming, number, numbers_of
from .parquet import numbers, read_arrow, require
from .table import Table


class Source(NamedTuple):
    """Where a published table lies. `form` makes a text of the columns in braces; `identifiers` only join tables and
    are left out; `text_columns` are text.
    """

    file: str
    form: str
    identifiers: tuple[str, ...] = ()
    text_columns: tuple[str, ...] = ()
    space: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns in `form`."""
        return tuple(part.partition("}")[0] for part in self.form.split("{")[1:])


CELL_101 = "{adjacency_rowmajor}:{interior_ops}"
TRANSNAS = "{transnas_arch_str}", ("naslib_op_indices",), ()
SOURCES = {
    "nasbench101": Source("nasbench101.csv.gz", CELL_101, ("module_hash",), (), "nasbench101"),
    "nasbench101_ecnas": Source("nasbench101_ecnas.csv.gz", CELL_101, ("module_hash",), (), "nasbench101"),
    "nasbench201": Source("nasbench201.csv.gz", "{arch_str}", ("nb201_index",), (), "nasbench201"),
    "nasbench_macro": Source("nasbench_macro_cifar10.csv.gz", "{arch_code8}", (), (), "nasbench_macro"),
    "darts": Source("darts_cifar10.csv.gz", "{darts_genotype}", (), (), "darts"),
    "ofa_mbv3": Source(
        "ofa_mbv3_imagenet.csv.gz", "ks={ks20};e={e20};d={d5};r={resolution}", (), ("supernet", "source"), "ofa_mbv3"
    ),
    "transnas_micro": Source("transnas101_micro.csv.gz", *TRANSNAS, "transnas_micro"),
    "transnas_macro": Source("transnas101_macro.csv.gz", *TRANSNAS, "transnas_macro"),
    "nasbench_nlp": Source("nasbench_nlp.jsonl.gz", "{recipe}", (), ("dataset", "status"), "nasbench_nlp"),
    "timm_imagenet": Source("timm_imagenet.csv.gz", "{timm_model}", (), ("interpolation", "pretrain")),
}
KEPT = ("resolution",)  # parts of a text that are metrics too


def read_published(name: str, path: str | os.PathLike[str] | None) -> Table:
    """The published table `name`; see `frontends.tables.load`."""
    source = SOURCES[name]
    file = find(source, path)
    if name == "nasbench_nlp":
        return _nasbench_nlp(file)
    data = _csv(file, source)
    require(file, data, (*source.columns, *source.text_columns))
    texts = tuple(
        source.form.format_map(dict(zip(source.columns, row, strict=True)))
        for row in zip(*(_texts(data, c) for c in source.columns), strict=True)
    )
    others = {*source.columns, *source.identifiers, *source.text_columns} - set(KEPT)
    columns = numbers(file, data, others)
    groups = {column: _texts(data, column) for column in source.text_columns}
    if name == "timm_imagenet":
        groups["tag"] = tuple(text.partition(".")[2] for text in texts)
    return Table(name, texts, columns, spaces.get(source.space) if source.space else None, text_columns=groups)


def find(source: Source, path: str | os.PathLike[str] | None) -> Path:
    """The file of a source: `path` itself, or in the folder `path`, or in $CGIR_DATA.

    Raises:
        LabelError: it is nowhere to be found.
    """
    folder = path if path is not None else os.environ.get("CGIR_DATA")
    if not folder:
        raise LabelError(
            f"where is {source.file}? Set the environment variable CGIR_DATA to the folder with the label tables, or give path="
        )
    file = Path(folder) / source.file if Path(folder).is_dir() else Path(folder)
    if not file.is_file():
        raise LabelError(
            f"{file} does not exist; path= or CGIR_DATA must be a folder that holds {source.file}, or the file itself"
        )
    return file


def _csv(file: Path, source: Source) -> pa.Table:
    strings = dict.fromkeys((*source.columns, *source.identifiers, *source.text_columns, "param_count_M"), pa.string())
    data = read_arrow(
        file,
        lambda: pa.csv.read_csv(
            file, convert_options=pa.csv.ConvertOptions(column_types=strings, strings_can_be_null=False)
        ),
    )
    if "param_count_M" in data.column_names:  # written with commas between thousands
        index = data.column_names.index("param_count_M")
        data = data.set_column(index, "param_count_M", pc.replace_substring(data["param_count_M"], ",", ""))
    return data


def _texts(data: pa.Table, column: str) -> tuple[str, ...]:
    return tuple(data[column].to_pylist())


def _nasbench_nlp(file: Path) -> Table:
    """JSON lines: recipes as compact JSON in the file's order of keys; losses of listed epochs as a column each."""
    source = SOURCES["nasbench_nlp"]
    texts: list[str] = []
    rows: list[dict[str, float]] = []
    groups: list[tuple[str, ...]] = []
    try:
        with gzip.open(file, "rt", encoding="utf-8") as stream:
            for line in stream:
                with naming(f"{file}: line {len(rows) + 1}", "records of NAS-Bench-NLP"):
                    entry = json.loads(line)
                    texts.append(compact(entry.pop("recipe")))
                    groups.append(tuple(str(entry.pop(group)) for group in source.text_columns))
                    rows.append(_losses(entry) | {name: number(value) for name, value in entry.items()})
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise FileFormatError(f"{file}: cannot be read as a label table ({error})") from error
    named = dict(zip(source.text_columns, zip(*groups, strict=True), strict=True))
    return Table("nasbench_nlp", tuple(texts), columns_of(rows), spaces.get("nasbench_nlp"), text_columns=named)


def _losses(entry: dict[str, Any]) -> dict[str, float]:
    losses = numbers_of(entry.pop("val_loss_ep", []))
    epochs = numbers_of(entry.pop("val_loss_ep_index", [*range(1, len(losses) + 1)]))
    return {f"val_loss_{int(epoch)}ep": float(loss) for epoch, loss in zip(epochs, losses, strict=True)}
