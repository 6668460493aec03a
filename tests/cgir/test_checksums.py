import json
import logging
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgir import CgirError, FileFormatError, checksums
from cgir.strict_json import parse_object

TEXTS = st.dictionaries(st.text(max_size=4), st.one_of(st.integers(), st.text(), st.lists(st.booleans())), max_size=4)


def read(data):
    """What a reader of JSON files makes of bytes."""
    content = parse_object("f", data)
    return content, checksums.check_json("f", data, content)


@given(TEXTS, st.booleans(), st.booleans())
def test_sealed_json_is_json_whose_digits_are_its_crc32(content, compact, ascii_only):
    content.pop("checksum", None)
    data = checksums.sealed_json(content, compact, ensure_ascii=ascii_only)
    digits = json.loads(data)["checksum"]
    head, _, tail = data.rpartition(digits.encode())
    assert int(digits, 16) == zlib.crc32(head + b"00000000" + tail)
    assert read(data) == (content, True)


@pytest.mark.parametrize("indent", [None, 1])
def test_every_flipped_bit_of_json_is_refused(indent):
    content = {"version": 3, "checksums": "1234abcd", "name": 'a "checksum": "00000000"} of b', "parts": [1, 2.5, None]}
    data = checksums.sealed_json(content, indent=indent)
    assert read(data) == (content, True)
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            found = read(bytes(flipped))
        except FileFormatError:
            continue
        raise AssertionError(f"bit {bit}: {found}")


def test_checksum_that_is_no_text_or_not_last_is_damage():
    for text in (
        '{"checksum": 0}', '{"checksum": "00000000", "a": 1}', '{"a": {"checksum": "00000000"}, "checksum": null}',
        '{"checksum": "0000000"}', '{"checksum": ["00000000"]}',
    ):  # fmt: skip
        with pytest.raises(FileFormatError, match=r"^f: damaged: its content does not match its checksum; restore"):
            read(text.encode())
    assert read(b'{"a": 1}') == ({"a": 1}, False)


def test_half_surrogates_are_escaped():
    assert read(checksums.sealed_json({"a": "\udc80"}, ensure_ascii=False))[0] == {"a": "\udc80"}


def sealed_parquet(path):
    table = pa.table({"acc": pa.array(np.arange(50.0)), "spec": pa.array([f"s{i}" for i in range(50)])})
    table = table.replace_schema_metadata({checksums.PARQUET_KEY: checksums.UNSEALED, "what": "a table"})
    pq.write_table(table, path, write_page_checksum=True, compression="none", row_group_size=20)
    checksums.seal_parquet(path)
    return table


def test_every_flipped_bit_of_a_parquet_file_is_refused_or_changes_nothing(tmp_path):
    path = tmp_path / "t.parquet"
    table = sealed_parquet(path)
    assert checksums.check_parquet(path)
    data = path.read_bytes()
    outcomes = set()
    for bit in np.random.default_rng(0).permutation(8 * len(data))[:500].tolist():
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            checksums.check_parquet(path)
            same = pq.ParquetFile(path, page_checksum_verification=True).read().equals(table)
        except (CgirError, OSError, ValueError, pa.ArrowException):
            same = None
        outcomes.add(same)
    assert outcomes == {None, True}


def test_parquet_files_without_a_checksum(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": [1]}), path)
    assert not checksums.check_parquet(path)
    with pytest.raises(ValueError, match=r"has no cgir\.checksum"):
        checksums.seal_parquet(path)
    for content in (b"", b"PAR1", b"\xff" * 20):
        path.write_bytes(content)
        assert not checksums.check_parquet(path)


def test_missing_checksums_are_noted(caplog):
    with caplog.at_level(logging.WARNING):
        checksums.note_missing("g.json", "load it and save it again")
    assert caplog.messages == [
        "g.json: has no checksum, as an older cgir wrote it, so damage would go unnoticed; load it and save it again"
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "no JSON"), (b"[1]", "found list, expected dict"), (b"null", "found NoneType"),
        (b'{"a": NaN}', "NaN where numbers are finite"),
        (b'{"a": -Infinity}', "-Infinity"), (b'{"a": 1e999}', "1e999"),
        (b'{"a": "\xff"}', "utf-8"), (b'{"a": ' + b"9" * 5000 + b"}", "4300"), (b"\xed\xa0\x80", "utf-8"),
        (b'{"a": ' + b"[" * 101 + b"]" * 101 + b"}", "nested 102 deep, at most 100"),
        (b"[" * 10**5, "nested 100,000 deep"),
        (b'{"a":' * 10**5, "nested 100,000 deep"),
    ],
)  # fmt: skip
def test_json_of_strangers(text, problem):
    with pytest.raises(FileFormatError, match=f"^f: .*{problem}"):
        parse_object("f", text)


def test_brackets_in_texts_are_no_depth():
    assert parse_object("f", json.dumps({"a": "[" * 500 + '\\"]', "b": [[1]]}))["b"] == [[1]]
