"""What mkdocs cannot do by itself: pages that stand elsewhere in the repository, links to its files, the command line.

Pages link to files of the repository as on GitHub, `../RESULTS.md` or `../../examples/trace_a_model.py`. Here those
that are pages of the site, or pictures, lead there, all others to the repository.
"""

from __future__ import annotations

import argparse
import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("RESULTS.md", "CHANGELOG.md", "CONTRIBUTING.md")  # of the repository's root that are pages of the site
PICTURES = "benchmarks/results"
COMMANDS = "reference/command_line.md"
HELP_WIDTH = "100"
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s]+)(?=\))")
FENCED = re.compile(r"^(```.*?^```$)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and pictures that are not below `docs`, and the page of the command line."""
    for name in PAGES:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    for path in sorted((ROOT / PICTURES).iterdir()):
        if path.suffix in (".svg", ".png"):
            files.append(File.generated(config, f"{PICTURES}/{path.name}", abs_src_path=str(path)))
    files.append(File.generated(config, COMMANDS, content=command_line()))
    return files


def on_page_markdown(markdown: str, page: Any, config: MkDocsConfig, files: Files) -> str:
    """Lead links to files of the repository where they stand in the site, or to the repository."""
    name = page.file.src_uri
    folder = posixpath.dirname(name if name in PAGES else f"docs/{name}")

    def lead(link: re.Match[str]) -> str:
        target, hash_sign, anchor = link[1].partition("#")
        path = posixpath.normpath(posixpath.join(folder, target))
        if path.startswith("docs/") and name not in PAGES:
            return link[0]
        inside = path.removeprefix("docs/")
        if files.get_file_from_path(inside):
            return posixpath.relpath(inside, posixpath.dirname(name) or ".") + hash_sign + anchor
        if path.startswith("..") or not (ROOT / path).exists():
            raise PluginError(f"{name}: no file {path}, to which it links as {link[1]}")
        return f"{config.extra['repository']}/blob/main/{path}{hash_sign}{anchor}"

    parts = FENCED.split(markdown)
    return "".join(part if part.startswith("```") else LINK.sub(lead, part) for part in parts)


def command_line() -> str:
    """The help of every command as a page."""
    from cgir.cli.main import build_parser

    os.environ["COLUMNS"] = HELP_WIDTH  # argparse asks for the width of the terminal
    parser = build_parser()
    actions = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    parts = ["# Command line\n", "What `cgir --help` and `cgir COMMAND --help` print.\n", _help(parser)]
    for name, command in actions[0].choices.items():
        parts += [f"## cgir {name}\n", _help(command)]
    return "\n".join(parts)


def _help(parser: argparse.ArgumentParser) -> str:
    return f"```text\n{parser.format_help().strip()}\n```\n"
