"""The pages that `make docs` built, opened from the file system in a browser: nothing is loaded, the search answers."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from browser import Browser, browser, find_browser
from source_tree import ROOT

SITE = ROOT / "site"
PAGES = ("index.html", "concepts/graphs.html", "tutorials/rank.html", "reference/cgir.html", "RESULTS.html")
LOADED = re.compile(r'<(?:script|img|iframe|link rel="(?:stylesheet|preload|icon)")[^>]* (?:src|href)="(https?:[^"]+)"')
pytestmark = [
    pytest.mark.skipif(not (SITE / "index.html").is_file(), reason="site/ is not built; `make docs` does"),
    pytest.mark.skipif(find_browser() is None, reason="no Chromium is installed"),
]


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def test_pages_load_nothing_from_elsewhere() -> None:
    pages = list(SITE.rglob("*.html"))
    assert len(pages) > 25
    assert {match for page in pages for match in LOADED.findall(page.read_text(encoding="utf-8"))} == set()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
def test_pages_open_without_a_problem(tab: Browser, page: str, dark: bool) -> None:
    tab.open(SITE / page, dark=dark)
    assert tab.problems == []
    assert tab.run("document.body.dataset.mdColorScheme") == ("slate" if dark else "default")
    assert tab.run("[...document.images].filter(image => !image.naturalWidth).map(image => image.src)") == []


def test_search_answers_without_a_server(tab: Browser) -> None:
    tab.open(f"{(SITE / 'index.html').as_uri()}?q=GraphStore")
    tab.wait("document.querySelectorAll('.md-search-result__link').length > 2")
    links = tab.run("[...document.querySelectorAll('.md-search-result__link')].map(link => link.href)")
    assert any("reference/cgir.html#cgir.GraphStore" in link for link in links)
    tab.open(f"{(SITE / 'papers.html').as_uri()}?q=qqqqqq")
    tab.wait("/no matching/i.test(document.querySelector('.md-search-result__meta').textContent)")
    assert tab.problems == []
