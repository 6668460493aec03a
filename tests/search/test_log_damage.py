"""Damage of a search's log is found in every line; logs of older versions are read."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from search_samples import SPACE, Ridge, planted, quiet

import search
from cgir import FileFormatError
from cgir.checksums import sealed_json


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.jsonl"
    search.evolve(SPACE, Ridge(), planted, 6, path=path, **quiet)
    return path


def test_the_end_of_the_last_line_is_checked(log: Path) -> None:
    whole = log.read_bytes()
    number = whole.count(b"\n")
    for bit in range(8):
        log.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1 << bit]))
        with pytest.raises(FileFormatError, match=rf"line {number}: damaged: .*checksum; remove it to search anew"):
            search.History.load(log)


def test_an_unfinished_last_line_is_left_out(log: Path) -> None:
    whole = log.read_bytes()
    rows = len(search.History.load(log))
    start = whole.rfind(b"\n", 0, -1) + 1
    for end in range(start, len(whole)):
        log.write_bytes(whole[:end])
        assert len(search.History.load(log)) == rows  # the last line is an answer


def test_a_line_without_its_checksum_is_damage(log: Path) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    event = json.loads(lines[2])
    del event["checksum"]
    log.write_bytes(b"".join([*lines[:2], json.dumps(event).encode() + b"\n", *lines[3:]]))
    with pytest.raises(FileFormatError, match="line 3 is damaged"):
        search.History.load(log)


def test_logs_of_older_versions_are_read_with_one_note_and_go_on(log: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = search.History.load(log)
    events = [json.loads(line) for line in log.read_bytes().splitlines()]
    for event in events:
        del event["checksum"]
    log.write_text("".join(json.dumps(event) + "\n" for event in events))
    with caplog.at_level(logging.WARNING):
        assert search.History.load(log).rows == expected.rows
    assert [record.message for record in caplog.records] == [
        f"{log}: has no checksum, as an older cgir wrote it, so damage would go unnoticed; "
        "a new search writes logs that have them"
    ]
    longer = search.evolve(SPACE, Ridge(), planted, 8, path=log, **quiet)
    assert search.History.load(log).rows == longer.rows
    changed = log.read_bytes().splitlines(keepends=True)
    changed[-1] = changed[-1].replace(b'"tell"', b'"tell" ', 1)
    log.write_bytes(b"".join(changed))
    with pytest.raises(FileFormatError, match="damaged: its content does not match its checksum"):
        search.History.load(log)


@pytest.mark.parametrize(
    "event",
    [
        {"ask": "abc"}, {"ask": [None]}, {"ask": [1]}, {"ask": {}}, {"add": 3, "answer": {}}, {"what": 1},
        {"tell": True, "answer": {"accuracy": 1.0}, "error": None, "seconds": 1},
        {"tell": 0, "answer": {"accuracy": "1"}, "error": None, "seconds": 1},
        {"tell": 0, "answer": {"\ud800": 1}, "error": None, "seconds": 1},
        {"tell": 0, "answer": [], "error": None, "seconds": 1}, {"tell": 0, "answer": {}, "error": 3, "seconds": 1},
        {"tell": 0, "answer": {}, "error": None, "seconds": "1"},
    ],
)  # fmt: skip
def test_events_of_strange_values_are_one_error(event: dict[str, object], log: Path) -> None:
    lines = log.read_bytes().splitlines(keepends=True)[:2]
    log.write_bytes(b"".join([*lines, sealed_json(event)]))
    with pytest.raises(FileFormatError, match=r"line 3 (tells nothing of this search|is damaged)"):
        search.History.load(log)


@pytest.mark.parametrize(
    "header",
    [
        {"space": {}},
        {"space": None},
        {"skeleton": []},
        {"skeleton": {"cells": [[[]]]}},
        {"skeleton": {"cells": 1e300}},
        {"config": []},
        {"config": {"limits": [3]}},
    ],
)
def test_headers_of_strange_values_are_one_error(header: dict[str, object], log: Path) -> None:
    first, *rest = log.read_bytes().splitlines(keepends=True)
    content = {key: value for key, value in json.loads(first).items() if key != "checksum"}
    log.write_bytes(b"".join([sealed_json({**content, **header}), *rest]))
    with pytest.raises((FileFormatError, search.history.SpecError)):
        search.History.load(log)
