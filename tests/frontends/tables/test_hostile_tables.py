"""Label tables of strangers: damaged, lying or out of proportion; each is refused in one line, or what it was."""

from __future__ import annotations

import bz2
import gzip
import logging
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from nats_samples import CELLS_201

import cgir
from cgir.limits import Limits
from frontends import spaces
from frontends.tables import Table, read_table, write_table
from frontends.tables.importers import import_table


def refusal(kind: str, path: Path, space: str | None = None, spec: str | None = None) -> str:
    """The error of an import: one line without control characters."""
    with pytest.raises(cgir.FileFormatError) as caught:
        import_table(kind, path, space, spec)
    assert str(caught.value).isprintable()
    return str(caught.value)


def small_table(path: Path) -> Table:
    columns = {"acc": np.asarray([1.5, np.nan, 3.0]), "loss": np.arange(3.0)}
    table = Table("x", CELLS_201, columns, spaces.get("nasbench201"), text_columns={"who": ("a", "b", "a")})
    write_table(table, path)
    return table


def test_flipped_bits_are_noticed_or_change_nothing(tmp_path: Path) -> None:
    table = small_table(tmp_path / "x.parquet")
    whole = (tmp_path / "x.parquet").read_bytes()
    refused = 0
    for bit in np.random.default_rng(0).choice(8 * len(whole), 600, replace=False).tolist():
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        (tmp_path / "y.parquet").write_bytes(data)
        try:
            found = read_table(tmp_path / "y.parquet")
        except cgir.FileFormatError:
            refused += 1
            continue
        assert (found.spec_strings, found.text_columns, found.space) == (
            table.spec_strings, table.text_columns, table.space
        ), bit  # fmt: skip
        assert found.metrics == table.metrics
        assert all(np.array_equal(found[name], table[name], equal_nan=True) for name in table.metrics), bit
    assert refused > 500


def test_tables_without_a_checksum_are_read_with_a_note(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = small_table(tmp_path / "x.parquet")
    with caplog.at_level(logging.WARNING):
        read_table(tmp_path / "x.parquet")
        assert not caplog.records
        data = pq.read_table(tmp_path / "x.parquet")
        entry = {b"cgir": data.schema.metadata[b"cgir"]}
        pq.write_table(data.replace_schema_metadata(entry), tmp_path / "old.parquet")
        assert read_table(tmp_path / "old.parquet").spec_strings == table.spec_strings
    assert "old.parquet: has no checksum" in caplog.text


def repeated(value: object, count: int) -> pa.Array:
    return pa.array([value]).take(pa.array(np.zeros(count, np.int32)))


def test_many_rows_in_few_bytes_are_refused(tmp_path: Path) -> None:
    count = 3_000_000
    columns = {"cell": repeated(CELLS_201[0], count), "acc": repeated(1.5, count)}
    pq.write_table(pa.table(columns), path := tmp_path / "x.parquet", compression="zstd", row_group_size=count)
    assert "3,000,000 rows" in refusal("parquet", path, "nasbench201", "cell")
    # the file says that it has fewer; its parts do not
    data = path.read_bytes()
    claim = varint(2 * count)
    start = len(data) - int.from_bytes(data[-8:-4], "little") - 8
    path.write_bytes(data[:start] + data[start:].replace(claim, b"\x90" + b"\x80" * (len(claim) - 2) + b"\0", 1))
    assert pq.read_metadata(path).num_rows == 8
    assert "rows" in refusal("parquet", path, "nasbench201", "cell")
    # all of them say so: a thousand million
    path.write_bytes(data[:start] + data[start:].replace(claim, varint(2 * 130_000_000)))
    assert "130,000,000 rows" in refusal("parquet", path, "nasbench201", "cell")


def varint(number: int) -> bytes:
    """As Thrift's compact protocol has it."""
    return bytes([number & 127 | 128]) + varint(number >> 7) if number > 127 else bytes([number])


def test_long_texts_in_few_bytes_are_refused(tmp_path: Path) -> None:
    columns = {
        "cell": pa.array([CELLS_201[0]] * 3000),
        "who": pa.DictionaryArray.from_arrays([0] * 3000, ["x" * 500_000]),
    }
    pq.write_table(pa.table(columns), tmp_path / "x.parquet", compression="zstd")
    assert "the texts of column 'who'" in refusal("parquet", tmp_path / "x.parquet", "nasbench201", "cell")
    with pytest.raises(cgir.LimitError, match="bytes, more than the limit of 10,000"):
        import_table("parquet", tmp_path / "x.parquet", "nasbench201", "cell", Limits(bytes=10_000))


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[1, 2]] * 3), pa.array([{"a": 1}] * 3), pa.array([b"\xff"] * 3), pa.array([0, 1, 2], pa.date32()),
        pa.array([1, 2, 3], pa.timestamp("s")), pa.array([[("a", 1)]] * 3, pa.map_(pa.string(), pa.int32())),
        pa.array([2**63 + 1] * 3, pa.uint64()),
        pa.array([b"\xff\xfe"] * 3).view(pa.string()),
    ],
    ids=["list", "struct", "binary", "date", "time", "map", "integers", "no UTF-8"],
)  # fmt: skip
def test_columns_of_other_types_are_refused_by_name(tmp_path: Path, column: pa.Array) -> None:
    pq.write_table(pa.table({"cell": CELLS_201, "odd": column}), tmp_path / "x.parquet")
    said = refusal("parquet", tmp_path / "x.parquet", "nasbench201", "cell")
    assert "odd" in said or "UTF" in said


CSVS = {
    "header without UTF-8": b"cell,\x91acc\nCELL,1\n",
    "value without UTF-8": b"cell,acc\nCELL,\xff\n",
    "spec without UTF-8": b"cell,acc\n\xff\xfe,1\n",
    "UTF-16": "cell,acc\nCELL,1\n".encode("utf-16"),
    "huge field": b"cell,acc\nCELL," + b"9" * 3_000_000 + b"\n",
    "a column twice": b"cell,acc,acc\nCELL,1,2\n",
    "the specs twice": b"cell,cell\nCELL,CELL\n",
    "rows of other lengths": b"cell,acc\nCELL,1\nCELL\n",
    "a million columns": b"," * 1_000_000 + b"\n" + b"," * 1_000_000 + b"\n",
    "a million columns, later": b"\n\r\n" + b"," * 1_000_000 + b"\n",
    "a million columns, old line ends": b"," * 1_000_000 + b"\r" + b"1\r",
    "no rows": b"cell,acc\n",
    "nothing": b"",
}


@pytest.mark.parametrize("name", CSVS)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_strange_csv_files_are_refused(tmp_path: Path, name: str, packed: bool) -> None:
    text = CSVS[name].replace(b"CELL", CELLS_201[0].encode())
    path = tmp_path / ("x.csv.gz" if packed else "x.csv")
    path.write_bytes(gzip.compress(text) if packed else text)
    assert refusal("csv", path, "nasbench201", "cell").startswith(str(path))


def pickled(path: Path, raw: bytes) -> Path:
    path.write_bytes(bz2.compress(raw))
    return path


DEEP_KEY = b"}" + b")" + b"\x85" * 200_000 + b"Ns."
LONG_INTEGER = b"\x80\x02\x8b" + struct.pack("<i", 10**6) + b"\x7f" * 10**6 + b"."
DOUBLED_KEY = b"\x80\x02)q\0" + b"".join(b"0h%ch%c\x86q%c" % (i - 1, i - 1, i) for i in range(1, 40)) + b"0}h\x27Ns."


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (DEEP_KEY, "a tuple in tuples"),
        (DOUBLED_KEY, "a tuple: takes"),
        (LONG_INTEGER, "int"),
        (b"ca\x1b[31m\nb\r\n.", "asks for a"),
    ],
    ids=["deep key", "doubled key", "long integer", "control characters"],
)
def test_pickles_in_benchmarks_that_would_kill_are_refused(tmp_path: Path, raw: bytes, complaint: str) -> None:
    assert complaint in refusal("nasbench201", pickled(tmp_path / "x.pickle.pbz2", raw))


def test_a_text_of_many_rows_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = spaces.get("nasbench201")
    parsed: list[str] = []
    parse = type(space).parse

    def noted(self: spaces.Space[Any], text: str) -> object:
        parsed.append(text)
        return parse(self, text)

    monkeypatch.setattr(type(space), "parse", noted)
    (tmp_path / "x.csv").write_text("cell,acc\n" + f"{CELLS_201[0]},1\n" * 1000)
    assert len(import_table("csv", tmp_path / "x.csv", "nasbench201", "cell")) == 1000
    assert parsed == [CELLS_201[0]]
