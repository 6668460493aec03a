"""A browser for the tests of pages; without one they are skipped."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser import Browser, browser, find_browser


@pytest.fixture(scope="package")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if find_browser() is None:
        pytest.skip("no browser: apt-get install chromium")
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found
