"""The code blocks of a document: files are written, Python and commands run, and their output is compared.

    ```python                  runs, with the names of the blocks before it
    ```python title="net.py"   a file beside the page; text and CSV alike
    ```diff title="cgir/ops.py"    a change of that file, in a copy of the packages
    ```sh                      commands, one a line

A block ```text behind one that ran is what it prints; "..." stands for anything, as in doctest. Commands run on pages
of tutorials and where their output follows, and are parsed everywhere.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from source_tree import PACKAGES, ROOT

from cgir.cli.main import build_parser, main
from cgir.cli.options import join_signed

BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
FEWER_STEPS = ("steps=300", "steps=5")  # other scores, which are then not compared
NUMBER = re.compile(r"\d\.\d+")


class Block(NamedTuple):
    """A code block: language, the file that it is, its text, and the output that follows, if any."""

    language: str
    title: str
    text: str
    output: str | None


def documents() -> list[Path]:
    """The README and all pages of the documentation."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(path: Path) -> list[Block]:
    """The blocks of a document, in order; outputs are part of what they follow."""
    text = path.read_text(encoding="utf-8")
    found: list[Block] = []
    end = 0
    for match in BLOCK.finditer(text):
        language, title, content = match[1], match[2] or "", match[3]
        if language != "text" or title:
            found.append(Block(language, title, content, None))
        elif found and not text[end : match.start()].strip():
            found[-1] = found[-1]._replace(output=content)
        end = match.end()
    return found


def commands(block: Block) -> Iterator[list[str]]:
    """The words of each command of a block."""
    for line in block.text.splitlines():
        words = shlex.split(line, comments=True)
        while "&&" in words:
            yield words[: words.index("&&")]
            words = words[words.index("&&") + 1 :]
        if words:
            yield words


def parse(words: list[str]) -> None:
    """Parse a command of cgir; SystemExit if it is none."""
    build_parser().parse_args(join_signed(words[1:]))


def run_document(path: Path, folder: Path, printed: Callable[[], str]) -> None:
    """Run the blocks of a document.

    Args:
        path: of the document.
        folder: an empty one, the working folder.
        printed: gives what was printed since it was last called.
    """
    names: dict[str, Any] = {"__name__": "document"}
    is_tutorial = path.parent.name == "tutorials"
    for block in blocks(path):
        printed()
        if block.title:
            _write(block, folder)
            continue
        if block.language == "python":
            code = block.text.replace(*FEWER_STEPS)
            exec(compile(code, str(path.relative_to(ROOT)), "exec", dont_inherit=True), names)
        elif block.language == "sh" and (is_tutorial or block.output is not None):
            for words in commands(block):
                _run(words, folder)
        else:
            continue
        if block.output is not None:
            _compare(block, printed())


def _write(block: Block, folder: Path) -> None:
    if block.language == "diff":
        _change(folder, block)
        return
    (folder / block.title).write_text(block.text, encoding="utf-8")
    if block.language == "python":
        compile(block.text, block.title, "exec")


def _change(folder: Path, block: Block) -> None:
    """Apply a change, whose lines without "+" are in the file, to a copy of the packages."""
    for package in PACKAGES:
        if not (folder / package).exists():
            shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    lines = block.text.splitlines(keepends=True)
    old = "".join(line[1:] for line in lines if line[0] in " -")
    new = "".join(line[1:] for line in lines if line[0] in " +")
    text = (folder / block.title).read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{block.title} has {text.count(old)} places with {old!r}"
    (folder / block.title).write_text(text.replace(old, new), encoding="utf-8")


def _run(words: list[str], folder: Path) -> None:
    if words[0] == "cgir":
        assert main(words[1:]) in (0, 1), words
        return
    assert words[0] == "python", words
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *words[1:]], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout, end="")


def _compare(block: Block, printed: str) -> None:
    expected = block.output or ""
    if FEWER_STEPS[0] in block.text:
        expected, printed = (NUMBER.sub("#", text) for text in (expected, printed))
    same = doctest.OutputChecker().check_output(expected, printed, doctest.ELLIPSIS)
    assert same, f"{block.text}\nexpected:\n{expected}\nprinted:\n{printed}"
