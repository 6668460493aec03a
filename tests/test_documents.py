"""README and documentation: all of their code runs and prints what stands there, commands and links are right."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
from document_blocks import BLOCK, blocks, commands, documents, parse, run_document
from source_tree import ROOT
from space_checks import check_traces

import cgir
from cgir.graph_batch import GraphBatch

PAGES = {path.relative_to(ROOT).as_posix(): path for path in documents()}
RUNNING = [page for page, path in PAGES.items() if {block.language for block in blocks(path)} & {"python", "sh"}]
SLOW = ("docs/tutorials/cluster.md",)  # processes of dask
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)")
REFERENCE = re.compile(r"^::: (\S+)", re.MULTILINE)
# Public names that the reference leaves out: aliases, and details that scripts rely on but readers need not know.
NOT_IN_REFERENCE = re.compile(
    r"cgir\.errors\.\w+|contrastive\.WEIGHTS|frontends\.spaces\.SPACES|frontends\.spaces\.space\.Space"
    r"|frontends\.spaces\.cell\.[A-Z_]+|frontends\.tables\.[A-Z_]+|frontends\.tables\.read_published"
    r"|frontends\.reference\.([A-Z]\w+)"
)


@pytest.fixture
def own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A page's files can be imported, and are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # of torch.onnx, about itself
@pytest.mark.usefixtures("own_modules")
@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] if page in SLOW else []) for page in RUNNING]
)
def test_code_runs_and_prints_what_stands_there(page: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keras.utils.clear_session()  # names of layers are numbered on from those of other tests
    run_document(PAGES[page], tmp_path, lambda: capsys.readouterr().out)


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_those_of_the_command_line(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models.txt").write_text("net.py:small\nnet.py:wide\n", encoding="utf-8")
    for block in blocks(PAGES[page]):
        for words in commands(block) if block.language == "sh" else ():
            if words[0] == "cgir":
                parse(words)


def test_there_is_code() -> None:
    counts = {page: [block.language for block in blocks(path)] for page, path in PAGES.items()}
    assert counts["README.md"].count("python") == 3
    assert sum(languages.count("python") for languages in counts.values()) >= 30
    assert all("python" in counts[page] for page in counts if "/tutorials/" in page)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = BLOCK.sub("", PAGES[page].read_text(encoding="utf-8"))
    for target, anchor in LINK.findall(text):
        file = (PAGES[page].parent / target).resolve() if target else PAGES[page]
        generated = file == ROOT / "docs" / "reference" / "command_line.md"
        assert generated or file.exists(), f"{page}: {target}"
        if anchor:
            assert anchor in _anchors(file), f"{page}: {target}#{anchor}"


@pytest.mark.parametrize("page", PAGES)
def test_measurements_stand_in_the_results_that_are_linked(page: str) -> None:
    """Numbers of three decimals in a paragraph with a link to a section of RESULTS.md."""
    results = (ROOT / "RESULTS.md").read_text(encoding="utf-8")
    sections = {_anchor(part.partition("\n")[0]): part for part in re.split(r"^## ", results, flags=re.MULTILINE)}
    for paragraph in BLOCK.sub("", PAGES[page].read_text(encoding="utf-8")).splitlines():
        linked = [sections[anchor] for anchor in re.findall(r"RESULTS\.md#([\w-]+)", paragraph)]
        for number in re.findall(r"(?<![\d.])\d\.\d{3}(?!\d)", paragraph) if linked else ():
            assert any(number in section for section in linked), f"{page}: {number} is not in the section"


def _anchors(file: Path) -> set[str]:
    """Of the headings of a document, as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", file.read_text(encoding="utf-8")), re.MULTILINE)
    return set(map(_anchor, headings))


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_reference_has_all_public_names() -> None:
    pages = (ROOT / "docs" / "reference").glob("*.md")
    found = {name for page in pages for name in REFERENCE.findall(page.read_text(encoding="utf-8"))}
    lines = (ROOT / "tests" / "data" / "public_api.txt").read_text(encoding="utf-8").splitlines()
    public = {line.partition(" ")[0] for line in lines}
    assert {name for name in public if not NOT_IN_REFERENCE.fullmatch(name)} <= found


def test_the_space_of_the_tutorial_keeps_the_promises_of_a_space() -> None:
    (file,) = (block for block in blocks(PAGES["docs/tutorials/space.md"]) if block.title == "plainnet.py")
    names = {"__name__": "plainnet"}
    exec(compile(file.text, "plainnet.py", "exec", dont_inherit=True), names)
    space = names["PlainNet"](channels=4)  # type: ignore[operator]
    specs = list(space.enumerate())
    assert len(set(specs)) == 64
    assert [space.parse(space.format(spec)) for spec in specs] == specs
    batch, packed = space.graphs(specs), GraphBatch.from_graphs(map(space.graph, specs))
    assert batch.kinds == packed.kinds
    assert all(np.array_equal(getattr(batch, field), getattr(packed, field)) for field in ("kind", "src", "dst", "ptr"))
    check_traces(space, 10, seed=0)
    assert all(space.mutate(spec, np.random.default_rng(0)) in set(specs) - {spec} for spec in specs)
    with pytest.raises(cgir.SpecError, match="depth 1 of '2 9 1' is '9'"):
        space.parse("2 9 1")
