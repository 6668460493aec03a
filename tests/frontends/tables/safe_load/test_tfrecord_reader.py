"""TFRecord files: checked against a checksum bit by bit and TensorFlow."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tfrecord_samples import crc32c, framed

import cgir
from frontends.tables.safe_load.tfrecord_reader import read_records


def test_the_checksum_is_the_published_one() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4


def test_records_are_what_tensorflow_reads_and_writes(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    rng = np.random.default_rng(0)
    records = [rng.bytes(int(size)) for size in (*rng.integers(0, 900, 300), 0, 1, 65_536)]
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for record in records:
            writer.write(record)
    assert list(read_records(tmp_path / "theirs")) == records
    (tmp_path / "ours").write_bytes(b"".join(map(framed, records[:40])))
    assert [record.numpy() for record in tf.data.TFRecordDataset(str(tmp_path / "ours"))] == records[:40]
    assert list(read_records(tmp_path / "ours")) == records[:40]
    (tmp_path / "none").write_bytes(b"")
    assert list(read_records(tmp_path / "none")) == []


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda raw: raw[:-1], "record 2 at byte 48: cut off; the file ends at byte 71"),
        (lambda raw: raw[:50], "record 2 at byte 48: cut off"),
        (lambda raw: raw[:40] + b"X" + raw[41:], "record 1 at byte 24: the checksum of its data is wrong"),
        (lambda raw: raw[:30] + b"X" + raw[31:], "record 1 at byte 24: the checksum of its length is wrong"),
        (lambda raw: raw[:24] + b"\x09" + raw[25:], "record 1 at byte 24: the checksum of its length is wrong"),
        (lambda raw: framed(bytes(70_000)), "record 0 at byte 0: 70000 bytes long, expected at most 65536"),
        (
            lambda raw: b"PAR1" * 20,
            "record 0 at byte 0: the checksum of its length is wrong; the file is damaged, or no TFRecord file",
        ),
    ],
)
def test_damaged_records_are_named(damage: Callable[[bytes], bytes], complaint: str, tmp_path: Path) -> None:
    file = tmp_path / "x.tfrecord"
    file.write_bytes(damage(b"".join(framed(bytes([n]) * 8) for n in range(3))))
    with pytest.raises(cgir.FileFormatError, match=f"x.tfrecord: {complaint}"):
        list(read_records(file))


def test_huge_claims_of_records_are_not_believed(tmp_path: Path) -> None:
    length = struct.pack("<Q", 1 << 62)
    (tmp_path / "x").write_bytes(length + framed(length)[-4:] + b"data")
    with pytest.raises(cgir.FileFormatError, match="record 0 at byte 0: cut off"):
        list(read_records(tmp_path / "x"))
