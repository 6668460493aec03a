"""What the design promises about the code itself: one-way imports, no framework in the core, files one can read in a
sitting.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("cgir", "frontends", "encoders", "contrastive", "search", "examples", "benchmarks")
FRAMEWORKS = {"torch", "onnx", "onnxruntime", "tensorflow", "keras", "torch_geometric"}
SOURCES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    layer = path.relative_to(ROOT).parts[0]
    if path == ROOT / "cgir" / "__main__.py" or path.parent == ROOT / "cgir" / "cli":
        return  # the command line may look up
    above = set(LAYERS[LAYERS.index(layer) + 1 :]) - ({"benchmarks"} if layer == "examples" else set())
    names = set(imported(ast.parse(path.read_text(encoding="utf-8"))))
    assert not names & above, f"{path} imports {names & above}, which stands above {layer}"
    if layer == "cgir":
        # `GraphBatch.to_pyg` imports them when called; that importing cgir loads none has a test of its own
        allowed = {"torch", "torch_geometric"} if path == ROOT / "cgir" / "graph_batch.py" else set()
        assert not names & FRAMEWORKS - allowed


def test_importing_graphs_and_frontends_loads_no_framework() -> None:
    code = f"import sys, cgir, frontends; print([m for m in sys.modules if m in {sorted(FRAMEWORKS)}])"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def functions(tree: ast.AST) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.end_lineno - node.lineno + 1


def test_files_and_functions_are_short() -> None:
    texts = [path.read_text(encoding="utf-8") for path in SOURCES]
    assert max(text.count("\n") for text in texts) <= 500
    lengths = sorted(length for text in texts for length in functions(ast.parse(text)))
    assert lengths[-1] <= 75
    assert lengths[int(0.9 * len(lengths))] <= 30


def test_examples_stay_under_eighty_lines() -> None:
    for path in (ROOT / "examples").glob("*.py"):
        assert path.read_text(encoding="utf-8").count("\n") <= 80, path


def test_no_checkpoint_is_a_pickle() -> None:
    for path in SOURCES:
        code = path.read_text(encoding="utf-8")
        assert not re.search(r"\bimport pickle\b|torch\.load\(|joblib\.load\(|allow_pickle=True", code), path


def test_results_are_what_the_scripts_measured() -> None:
    from benchmarks.report import render

    assert (ROOT / "RESULTS.md").read_text(encoding="utf-8") == render()
