"""Files of the benchmarks' authors and label tables, made wrong at random."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.random import Generator

from cgir.checksums import PARQUET_KEY, UNSEALED, seal_parquet
from cgir.cli.label_csv import read_labels
from frontends import spaces
from frontends.tables import Table, load, read_table, write_table
from frontends.tables.importers import READERS, import_table

from .mutation import TEXTS, VALUES, mutate_bytes, mutate_json, random_value
from .pickle_programs import hostile_pickle
from .target import Target

CELL = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
CSV, LABELS, PUBLISHED, TABLE = "csv", "labels", "published", "table"  # beside the importers' formats
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
NAMES = ("results_0.json", "../results_1.json", "/results_2.json", "a" * 300 + "results_3.json", "results_0.json", "x")

# what `read` imports on demand: else each process that forks for some inputs would import it again
LOADED = ([reader.load() for reader in READERS.values()], [space.load() for space in spaces.SPACES.values()])
pa.array(np.zeros(1), from_pandas=True)  # Arrow imports pandas


class TableFile(NamedTuple):
    """A file, and what reads it: a format of `import_table`, or one of the names above."""

    reader: str
    path: Path


def prepare(folder: Path) -> dict[str, Any]:
    """Values and bytes of small valid files of every format."""
    space = spaces.get("nasbench201")
    rng = np.random.default_rng(0)
    specs = [space.format(space.sample(rng)) for _ in range(8)]
    columns = {"acc": rng.random(8), "loss": np.where(np.arange(8) == 3, np.nan, rng.random(8))}
    table = Table("x", tuple(specs), columns, space, text_columns={"who": ("a", "b") * 4})
    write_table(table, folder / "table.parquet")
    recipe = spaces.get("nasbench_nlp").format(spaces.get("nasbench_nlp").sample(rng))
    return {
        "specs": specs,
        "cell": {"12": _results(12), "200": _results(200)},
        "transnas": _transnas(),
        "nasbench301": _training(),
        "nasbench_nlp": {
            "recepie": recipe, "recepie_id": 1, "num_params": 5, "status": "OK", "data": "data/ptb",
            "train_losses": [3.0, 2.0], "val_losses": [3.0, 2.0], "test_losses": [3.0, 2.0], "wall_times": [1.0, 1.0],
        },
        "published": {"recipe": json.loads(recipe), "dataset": "ptb", "status": "OK", "val_loss_ep": [3.0, 2.0]},
        "table": (folder / "table.parquet").read_bytes(),
        "torch": [_torch_bytes(archive) for archive in (True, False)],
    }  # fmt: skip


def _results(epochs: int) -> dict[str, Any]:
    trial = {
        "eval_names": ["ori-test"], "eval_acc1es": {f"ori-test@{epochs - 1}": np.float64(90.5)}, "epochs": epochs,
        "params": 0.1, "flop": 15.0, "latency": [0.1], "arch_config": np.arange(3.0),
    }  # fmt: skip
    results = {("cifar10", 777): trial}
    return {"arch_index": 0, "arch_str": CELL, "all_results": results, "dataset_seed": {"cifar10": [777]}}


def _transnas() -> dict[str, Any]:
    task = {"metrics": {"valid_top1": [1.0, 2.0], "train_top1": [3.0]}, "model_info": {"params": 5}, "total_epochs": 2}
    return {
        "data": {"micro": {"64-41414-1_30_321": {"class_scene": task}}, "macro": {"64-1234-basic": {"jigsaw": task}}}
    }


def _training() -> dict[str, Any]:
    prefix = "NetworkSelectorDatasetInfo:darts:"
    config: dict[str, Any] = {f"{prefix}init_channels": 32, f"{prefix}layers": 8}
    for cell in ("normal", "reduce"):
        config |= {f"{prefix}edge_{cell}_{edge}": "sep_conv_3x3" for edge in range(14)}
        config |= {f"{prefix}inputs_node_{cell}_{node}": "0_1" for node in (3, 4, 5)}
    return {
        "optimized_hyperparamater_config": config, "info": [{"val_accuracy": 90.0, "epochs": 1}],
        "test_accuracy": 91.0, "runtime": 5.0, "budget": 100,
    }  # fmt: skip


def _torch_bytes(archive: bool) -> bytes:
    import torch

    buffer = io.BytesIO()
    value = _transnas() | {"w": torch.arange(4.0), "v": torch.arange(6).reshape(2, 3).t()}
    torch.save(value, buffer, _use_new_zipfile_serialization=archive)
    return buffer.getvalue()


def write(rng: Generator, seeds: dict[str, Any], folder: Path) -> TableFile:
    """One file of a random format; its content is changed, or its bytes, or both."""
    reader, name, data = WRITERS[int(rng.integers(len(WRITERS)))](rng, seeds)
    if rng.random() < 0.4:
        data = mutate_bytes(rng, data, 4)
    path = folder / name
    path.write_bytes(data)
    if name.endswith(".parquet") and rng.random() < 0.5:
        _sealed(path)
    return TableFile(reader, path)


def _sealed(path: Path) -> None:
    try:
        seal_parquet(path)
    except (ValueError, OSError):  # not a file that can have a checksum any more
        return


def _pickle(rng: Generator, value: Any) -> bytes:
    """A hostile pickle, or one of the value with parts that are replaced."""
    if rng.random() < 0.6:
        return hostile_pickle(rng)
    changed = _changed(rng, value) if rng.random() < 0.7 else value
    protocol = int(rng.integers(6))
    try:
        return pickle.dumps(changed, protocol)
    except RecursionError:  # nested deeper than Python's own pickler goes
        return hostile_pickle(rng)


def _changed(rng: Generator, value: Any) -> Any:
    """A value with one part replaced, or shared many times."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        keys = list(value)
        key = keys[int(rng.integers(len(keys)))]
        changed = dict(value)
        if rng.random() < 0.15:
            del changed[key]
        elif rng.random() < 0.05:
            changed |= dict.fromkeys(range(1000), value[key])
        else:
            changed[key] = _changed(rng, value[key])
        return changed
    if isinstance(value, list) and value and rng.random() < 0.5:
        return value * int(rng.choice([2, 10, 5000]))
    if rng.random() < 0.2:
        shared: Any = [1]
        for _ in range(40):
            shared = [shared, shared]
        return shared
    return random_value(rng)


def _pbz2(rng: Generator, seeds: dict[str, Any]) -> tuple[str, str, bytes]:
    whole = rng.random() < 0.5
    value = {"arch2infos": {0: seeds["cell"]}} if whole else seeds["cell"]
    name = "x.pickle.pbz2" if whole else "000000.pickle.pbz2"
    if whole:
        return "nasbench201", name, bz2.compress(_pickle(rng, value))
    return _packed(rng, "nasbench201", name, bz2.compress(_pickle(rng, value)))


def _packed(rng: Generator, reader: str, name: str, data: bytes) -> tuple[str, str, bytes]:
    """A file in a zip or tar archive, by a random method, with other names beside it."""
    buffer = io.BytesIO()
    if rng.random() < 0.5:
        with zipfile.ZipFile(buffer, "w", METHODS[int(rng.choice([0, 1, 1, 1, 2, 3]))]) as archive:
            for member in (name, *(NAMES[int(i)] for i in rng.integers(len(NAMES), size=int(rng.integers(3))))):
                if member not in archive.namelist():
                    archive.writestr(member, data if rng.random() < 0.9 else bytes(int(rng.choice([0, 10**6]))))
        return reader, "x.zip", buffer.getvalue()
    mode = ("w", "w:gz", "w:bz2", "w:xz")[int(rng.choice([0, 0, 1, 2, 3]))]
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
        for kind in (tarfile.REGTYPE, *rng.choice([tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE], 1).tolist()):
            info = tarfile.TarInfo(name if rng.random() < 0.8 else NAMES[int(rng.integers(len(NAMES)))])
            info.type, info.linkname = kind, "/etc/hostname"
            info.size = len(data) if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(data))
    return reader, "x.tar", buffer.getvalue()


def _pth(rng: Generator, seeds: dict[str, Any]) -> tuple[str, str, bytes]:
    reader = str(rng.choice(["transnas_micro", "transnas_macro", "nasbench201"]))
    kind = rng.random()
    if kind < 0.4:
        return reader, "x.pth", mutate_bytes(rng, seeds["torch"][int(rng.integers(2))], 6)
    content = _pickle(rng, seeds["transnas"])
    if kind < 0.6:
        head = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
        return reader, "x.pth", head + content + (_pickle(rng, ["0"]) if rng.random() < 0.5 else pickle.dumps([], 2))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x/data.pkl", content)
        archive.writestr("x/data/0", bytes(16))
    return reader, "x.pth", buffer.getvalue()


def _text(value: Any) -> bytes:
    try:
        return json.dumps(value).encode()
    except (ValueError, RecursionError):  # a dictionary that was put into itself, or nested too deeply
        return b"{}"


def _json(rng: Generator, seeds: dict[str, Any]) -> tuple[str, str, bytes]:
    reader, name = (("nasbench301", "results_0.json"), ("nasbench_nlp", "log_stats_model_0.json"))[int(rng.integers(2))]
    data = _text(mutate_json(rng, seeds[reader]))
    if rng.random() < 0.1:
        data = data.replace(b"1", b"1" * int(rng.choice([400, 5000])))
    elif rng.random() < 0.1:
        data = b"[" * int(rng.choice([90, 2000, 10**5])) + data
    return (reader, name, data) if rng.random() < 0.5 else _packed(rng, reader, name, data)


def _published(rng: Generator, seeds: dict[str, Any]) -> tuple[str, str, bytes]:
    lines = b"\n".join(json.dumps(mutate_json(rng, seeds["published"], 2)).encode() for _ in range(3))
    return PUBLISHED, "nasbench_nlp.jsonl.gz", gzip.compress(lines, 1)


def _tfrecord(rng: Generator, seeds: dict[str, Any]) -> tuple[str, str, bytes]:
    evaluation = b"".join(bytes([number << 3 | 1]) + struct.pack("<d", number / 10) for number in range(1, 6))
    metrics = b"".join(b"\x0a" + bytes([len(evaluation)]) + evaluation for _ in range(3)) + b"\x10\x05"
    if rng.random() < 0.4:
        metrics = mutate_bytes(rng, metrics)
    operations = "input,conv3x3-bn-relu,output"
    records = []
    for _ in range(int(rng.integers(1, 4))):
        record: Any = [f"{int(rng.integers(3)):x}", 108, "010001000", operations, b64encode(metrics).decode()]
        records.append(_framed(json.dumps(mutate_json(rng, record, 1) if rng.random() < 0.6 else record).encode()))
    return "nasbench101", "x.tfrecord", b"".join(records)


def _framed(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", _masked_crc(length)) + data + struct.pack("<I", _masked_crc(data))


def _masked_crc(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 * (crc & 1)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _csv(rng: Generator, seeds: dict[str, Any]) -> tuple[str, str, bytes]:
    cells = (*TEXTS, "1", "2.5", "-", '"', '"a,b"', "1_000", "٣", "é", "9" * 5000, *seeds["specs"])
    names = ["cell" if rng.random() < 0.9 else "spec", "acc", *rng.choice(["acc", "who", "", "a\rb"], 1).tolist()]
    if rng.random() < 0.3:
        names[0] = "model"
    lines = [",".join(names)]
    for spec in seeds["specs"]:
        row = [spec, *(cells[int(i)] for i in rng.integers(len(cells), size=int(rng.choice([1, 2, 2, 2, 9]))))]
        lines.append(",".join(row if rng.random() < 0.5 else [spec, "1", "a"]))
    text = "\n".join(lines).encode(errors="surrogatepass")
    text = b"\xef\xbb\xbf" + text if rng.random() < 0.1 else text
    if rng.random() < 0.3:
        return CSV, "x.csv.gz", gzip.compress(text, 1)
    return LABELS if rng.random() < 0.4 else CSV, "x.csv", text


def _table(rng: Generator, seeds: dict[str, Any]) -> tuple[str, str, bytes]:
    reader = TABLE if rng.random() < 0.6 else "parquet"
    if rng.random() < 0.4:
        return reader, "x.parquet", mutate_bytes(rng, seeds["table"], 3)
    count = len(seeds["specs"])
    columns: dict[str, Any] = {"spec": pa.array(seeds["specs"]), "acc": pa.array(np.arange(float(count)))}
    name = str(rng.choice(["spec", "acc", "who", "family", "a\nb", "x" * 10_000]))
    columns[name] = COLUMNS[int(rng.integers(len(COLUMNS)))](count)
    metadata = {"space": "nasbench201", "skeleton": {"channels": 16, "cells": 1}}
    entry = json.dumps(mutate_json(rng, metadata) if rng.random() < 0.6 else metadata).encode()
    data = pa.table(columns).replace_schema_metadata({b"cgir": entry, PARQUET_KEY.encode(): UNSEALED.encode()})
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(data, sink, compression="zstd", write_page_checksum=True)
    return reader, "x.parquet", sink.getvalue().to_pybytes()


COLUMNS: tuple[Callable[[int], pa.Array], ...] = (
    lambda count: pa.nulls(count),
    lambda count: pa.array([None] * count, pa.string()),
    lambda count: pa.array([[1, 2]] * count),
    lambda count: pa.array([{"a": 1}] * count),
    lambda count: pa.array([b"\xff\xfe"] * count),
    lambda count: pa.array([b"\xff\xfe"] * count).view(pa.string()),
    lambda count: pa.array(["a"] * count).dictionary_encode(),
    lambda count: pa.array(["x" * 10**5] * count).dictionary_encode(),
    lambda count: pa.array(np.arange(count).astype("M8[s]")),
    lambda count: pa.array([2**63] * count, pa.uint64()),
    lambda count: pa.array(VALUES[:1] * count).cast(pa.decimal128(38, 10)),
    lambda count: pa.array([True] * count),
)
WRITERS: tuple[Callable[[Generator, dict[str, Any]], tuple[str, str, bytes]], ...] = (
    _pbz2, _pbz2, _pbz2, _pth, _pth, _json, _json, _published, _tfrecord, _csv, _table, _table
)  # fmt: skip


def read(file: TableFile) -> object:
    """Import or open the table, and the networks of its first rows."""
    if file.reader == LABELS:
        return read_labels(file.path, None).join(["a", "b"])
    if file.reader == PUBLISHED:
        table = load("nasbench_nlp", file.path)
    elif file.reader == TABLE:
        table = read_table(file.path)
    elif file.reader == CSV:
        table = import_table(CSV, file.path, "nasbench201", "cell")
    elif file.reader == "parquet":
        table = import_table("parquet", file.path, "nasbench201", "spec")
    else:
        table = import_table(file.reader, file.path)
    write_table(table, file.path.with_name("written.parquet"))
    return table.graphs(range(min(len(table), 2)))


TARGET = Target("label tables", prepare, write, read)
