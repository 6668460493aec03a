"""Messages: ours are safe to show, those of other libraries' errors are quoted on one line."""

import pickle

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cgir.errors import MESSAGE_LIMIT, CgirError, FileFormatError, LimitError, UnsupportedOpError, one_line


class OpError(Exception):
    """As TensorFlow's: the text has the message and much more."""

    def __init__(self, message):
        super().__init__(message + " [at graph node]")
        self.message = message


@pytest.mark.parametrize(
    ("error", "limit", "named", "line"),
    [
        (ValueError("two\n  lines"), None, False, "two lines"),
        (ValueError("two\n  lines"), 5, False, "two ..."),
        (ValueError("two\n  lines"), 5, True, "ValueError: two ..."),
        (ValueError(), None, False, "ValueError"),
        (ValueError(), 9, True, "ValueError"),
        (OpError("sizes\tdiffer"), None, False, "sizes differ"),
    ],
)
def test_one_line(error, limit, named, line):
    assert one_line(error, limit, named) == line


@given(st.text(st.characters(), max_size=3000))
@example("\x1b[2Jred\r\n\ud800‮" + "a" * 10**6)
@example("a\u2028b\x85c\x1cd")
def test_a_message_is_one_short_line_without_control_characters_whatever_is_in_it(text):
    for kind in (CgirError, UnsupportedOpError, LimitError):
        message = str(kind(f"net.onnx: {text}; do this"))
        assert len(message.splitlines()) == 1
        assert len(message) <= MESSAGE_LIMIT
        assert message.isprintable()
        assert message.startswith("net.onnx: ")
        assert message.endswith("; do this")
        message.encode()


def test_a_long_message_keeps_what_is_wrong_and_what_to_do():
    message = str(CgirError(f"start {'x' * 600} end"))
    assert len(message) == MESSAGE_LIMIT
    assert message.startswith("start xxx")
    assert message.endswith("xxx end")
    assert "xxx ... xxx" in message


def test_an_error_survives_processes():
    error = FileFormatError("a\nb\x1b")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (FileFormatError, "a b\\x1b")
