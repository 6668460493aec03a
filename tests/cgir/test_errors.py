"""Messages of other libraries' errors, quoted on one line."""

import pytest

from cgir.errors import one_line


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
