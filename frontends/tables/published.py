"""Reader of the published tables: gzip CSV, and JSON lines for NAS-Bench-NLP."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from cgir.errors import FileFormatError, LabelError, one_line
from frontends import spaces

from . import timm_models, zoo_models
from .csv_reader import read_csv
from .importers.record_columns import compact_json, record_errors, to_columns, to_float, to_floats, to_text
from .named_networks import lemur_names, timm_names
from .parquet import float_columns, require_columns, strings
from .safe_load.archive_members import DAMAGED, open_gzip
from .table import Table


class PublishedTable(NamedTuple):
    """A published table, and what its columns are; those that are not named here are metrics.

    Attributes:
        file: its name in the folder.
        spec_template: a spec string with names of columns in braces.
        identifiers: columns that only join tables; they are left out.
        text_columns: columns of text.
        space: name of the search space, None for models of timm.
    """

    file: str
    spec_template: str
    identifiers: tuple[str, ...] = ()
    text_columns: tuple[str, ...] = ()
    space: str | None = None

    @property
    def spec_columns(self) -> tuple[str, ...]:
        """The columns in `spec_template`."""
        return tuple(part.partition("}")[0] for part in self.spec_template.split("{")[1:])


CELL_101 = "{adjacency_rowmajor}:{interior_ops}"
SPEC_OFA = "ks={ks20};e={e20};d={d5};r={resolution}"
SPEC_MBV2 = "{arch_def};w={channel_multiplier};d={depth_multiplier}"
SPEC_GRAPHGYM = "pre={l_pre};mp={l_mp};post={l_post};stage={stage};agg={agg};bn={bn};act={act}"
TRANSNAS = "{transnas_arch_str}", ("naslib_op_indices",), ()
PUBLISHED_TABLES = {
    "nasbench101": PublishedTable("nasbench101.csv.gz", CELL_101, ("module_hash",), (), "nasbench101"),
    "nasbench101_ecnas": PublishedTable("nasbench101_ecnas.csv.gz", CELL_101, ("module_hash",), (), "nasbench101"),
    "nasbench201": PublishedTable("nasbench201.csv.gz", "{arch_str}", ("nb201_index",), (), "nasbench201"),
    "nasbench_macro": PublishedTable("nasbench_macro_cifar10.csv.gz", "{arch_code8}", (), (), "nasbench_macro"),
    "darts": PublishedTable("darts_cifar10.csv.gz", "{darts_genotype}", (), (), "darts"),
    "ofa_mbv3": PublishedTable("ofa_mbv3_imagenet.csv.gz", SPEC_OFA, (), ("supernet", "source"), "ofa_mbv3"),
    "transnas_micro": PublishedTable("transnas101_micro.csv.gz", *TRANSNAS, "transnas_micro"),
    "transnas_macro": PublishedTable("transnas101_macro.csv.gz", *TRANSNAS, "transnas_macro"),
    "nasbench_nlp": PublishedTable("nasbench_nlp.jsonl.gz", "{recipe}", (), ("dataset", "status"), "nasbench_nlp"),
    "naap440": PublishedTable("more/naap440_cifar10.csv.gz", "{arch}", ("model_id",), (), "naap440"),
    "metaqnn": PublishedTable("more/metaqnn_cifar10.csv.gz", "{arch}", ("row",), (), "metaqnn"),
    "resnet_tinyimagenet": PublishedTable(
        "more/resnet_tinyimagenet32.csv.gz",
        "n={num_blocks};f={num_filters};k={filter_size}",
        ("row",),
        (),
        "cifar_resnet",
    ),
    "graphgym": PublishedTable(
        "more/graphgym_design_space.csv.gz",
        SPEC_GRAPHGYM,
        ("att",),
        ("space", "dataset", "task", "trans", "feature", "label", "varied", "optim"),
        "graphgym",
    ),
    "nasbench_graph": PublishedTable("more/nasbench_graph.csv.gz", "{link};{ops}", (), (), "nasbench_graph"),
    "timm_imagenet": PublishedTable("timm_imagenet.csv.gz", "{timm_model}", (), ("interpolation", "pretrain")),
    "nasbench201_latency": PublishedTable(
        "more/nasbench201_latency.csv.gz", "{arch_str}", ("nb201_index",), (), "nasbench201"
    ),
    "ofa_mbv3_latency": PublishedTable("more/ofa_mbv3_latency.csv.gz", SPEC_OFA, ("row",), (), "ofa_mbv3"),
    "timm_latency": PublishedTable("more/timm_latency.csv.gz", "{timm_model}"),
    "openlm": PublishedTable("more/openlm_gpt_loss.csv.gz", "d={d};l={l};h={h}", (), ("source", "train_data"), "gpt"),
    "face_landmarks": PublishedTable("more/face_landmarks_mbv2.csv.gz", SPEC_MBV2, ("arch_id",), (), "mobilenetv2"),
    "lstm_ptb": PublishedTable("more/lstm_ptb.csv.gz", "l={n_layers};h={n_hidden}", ("row",), (), "lstm"),
    "paddleclas": PublishedTable("more/paddleclas_imagenet.csv.gz", "{model}", (), ("section", "distilled")),
    "mmpretrain": PublishedTable(
        "more/mmpretrain_models.csv.gz",
        "{name}",
        (),
        ("config", "collection", "dataset", "task", "other", "pretrain_or_training_data"),
    ),
    "lemur_fixed_recipe": PublishedTable(
        "more/lemur_fixed_recipe.csv.gz", "{network}", ("code_ast_sha256_16",), ("dataset", "transform", "family")
    ),
    "lemur_networks": PublishedTable(
        "more/lemur_networks.csv.gz", "{network}", (), ("task", "dataset", "metric", "family", "best_transform")
    ),
}
LONGEST_LINE = 1 << 20  # characters of a record
SPEC_METRICS = ("resolution",)  # parts of a spec string that are metrics too


def read_published(name: str, path: str | os.PathLike[str] | None) -> Table:
    """The published table `name`; see `frontends.tables.load`."""
    published = PUBLISHED_TABLES[name]
    file = find_file(published, path)
    if name == "nasbench_nlp":
        return _nasbench_nlp(file)
    data = _csv(file, published)
    require_columns(file, data, (*published.spec_columns, *published.text_columns))
    spec_strings = tuple(
        published.spec_template.format_map(dict(zip(published.spec_columns, row, strict=True)))
        for row in zip(*(strings(file, data, column) for column in published.spec_columns), strict=True)
    )
    excluded = {*published.spec_columns, *published.identifiers, *published.text_columns} - set(SPEC_METRICS)
    columns = float_columns(file, data, excluded)
    text_columns = {column: strings(file, data, column) for column in published.text_columns}
    if name == "timm_imagenet":
        text_columns["tag"] = tuple(model.partition(".")[2] for model in spec_strings)
    space = spaces.get(published.space) if published.space else None
    return named(Table(name, spec_strings, columns, space, text_columns=text_columns))


def named(table: Table) -> Table:
    """A table with the names of its graphs, where its networks have names; of other zoos, with their names in timm."""
    if table.name.startswith("timm"):
        return replace(table, graph_names=timm_names(table.spec_strings, table["img_size"]), trace=timm_models.graphs)
    if table.name in zoo_models.RULES:
        return zoo_models.of_timm(table)
    if table.name.startswith("lemur"):
        texts = table.text_columns
        transforms = texts["transform" if "transform" in texts else "best_transform"]
        return replace(table, graph_names=lemur_names(table.spec_strings, texts["dataset"], transforms))
    return table


def find_file(published: PublishedTable, path: str | os.PathLike[str] | None) -> Path:
    """The file of a published table: `path` itself, or in the folder `path`, or in $CGIR_DATA.

    Raises:
        LabelError: there is no such file.
    """
    folder = path if path is not None else os.environ.get("CGIR_DATA")
    if not folder:
        raise LabelError(
            f"where is {published.file}? "
            "Set the environment variable CGIR_DATA to the folder with the label tables, or give path="
        )
    file = Path(folder) / published.file if Path(folder).is_dir() else Path(folder)
    if not file.is_file():
        raise LabelError(
            f"{file} does not exist; "
            f"path= or CGIR_DATA must be a folder that holds {published.file}, or the file itself"
        )
    return file


def _csv(file: Path, published: PublishedTable) -> pa.Table:
    names = (*published.spec_columns, *published.identifiers, *published.text_columns, "param_count_M")
    data = read_csv(file, names)
    if "param_count_M" in data.column_names:  # written with commas between thousands
        index = data.column_names.index("param_count_M")
        data = data.set_column(index, "param_count_M", pc.replace_substring(data["param_count_M"], ",", ""))
    return data


def _nasbench_nlp(file: Path) -> Table:
    """JSON lines: recipes as compact JSON in the file's order of keys; losses of listed epochs as a column each."""
    names = PUBLISHED_TABLES["nasbench_nlp"].text_columns
    spec_strings: list[str] = []
    rows: list[dict[str, float]] = []
    texts: list[tuple[str, ...]] = []  # a row of `names` each
    try:
        with TextIOWrapper(open_gzip(file), encoding="utf-8") as stream:
            while line := stream.readline(LONGEST_LINE):
                with record_errors(f"{file}: line {len(rows) + 1}", "records of NAS-Bench-NLP"):
                    record = json.loads(line)
                    spec_strings.append(compact_json(record.pop("recipe")))
                    texts.append(tuple(to_text(record.pop(name)) for name in names))
                    rows.append(_losses(record) | {name: to_float(value) for name, value in record.items()})
        columns = to_columns(rows)
    except FileFormatError:
        raise
    except DAMAGED as error:
        raise FileFormatError(f"{file}: cannot be read as a label table ({one_line(error)})") from error
    if not rows:
        raise FileFormatError(f"{file}: no records")
    text_columns = dict(zip(names, zip(*texts, strict=True), strict=True))
    space = spaces.get("nasbench_nlp")
    return Table("nasbench_nlp", tuple(spec_strings), columns, space, text_columns=text_columns)


def _losses(record: dict[str, Any]) -> dict[str, float]:
    losses = to_floats(record.pop("val_loss_ep", []))
    epochs = to_floats(record.pop("val_loss_ep_index", [*range(1, len(losses) + 1)]))
    return {f"val_loss_{int(epoch)}ep": float(loss) for epoch, loss in zip(epochs, losses, strict=True)}
