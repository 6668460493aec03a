"""JSON from files of strangers is read in a time that grows with its length."""

from __future__ import annotations

from time import process_time

import pytest

from cgir.errors import FileFormatError
from cgir.strict_json import MAX_DEPTH, parse, parse_object


def test_brackets_in_texts_are_not_nested() -> None:
    for text in ("[" * 1000, '\\"' + "[" * 1000, "[" * 1000 + "\\\\"):
        assert parse("f", f'["{text}", "{{"]', list)[1] == "{"


def test_nesting_is_bounded() -> None:
    deepest = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert parse("f", deepest, list)
    with pytest.raises(FileFormatError, match=r"^f: no JSON, so damaged \(nested 101 deep, at most 100 is expected\)$"):
        parse("f", f"[{deepest}]", list)
    with pytest.raises(FileFormatError, match="nested 1,000,000 deep"):
        parse_object("f", '{"a": ' * 1_000_000)


@pytest.mark.parametrize("end", ["", "\\", "[", "\\\\"])
def test_text_without_an_end_takes_no_time(end: str) -> None:
    start = process_time()
    with pytest.raises(FileFormatError):
        parse("f", "[" * (MAX_DEPTH + 1) + '"' + '\\"' * 200_000 + end, list)
    assert process_time() - start < 2


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "1e999"])
def test_numbers_are_finite(text: str) -> None:
    with pytest.raises(FileFormatError, match="where numbers are finite"):
        parse("f", f'{{"a": {text}}}', dict)
