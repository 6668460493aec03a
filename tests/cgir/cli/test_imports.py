"""Commands start fast because they import only what they use: asked of `sys.modules` in a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from source_tree import ROOT

import frontends

HEAVY = ("numpy", "scipy", "scipy.stats", "scipy.optimize", "scipy.spatial", "pyarrow", "pandas", "sklearn",
         "matplotlib", "networkx", "torch", "onnx", "onnxruntime", "tensorflow", "keras", "torch_geometric",
         "filelock", "threadpoolctl", "tqdm")  # fmt: skip
FRAMEWORKS = {"onnx", "onnxruntime", "tensorflow", "keras", "torch_geometric"}
NEVER = {*FRAMEWORKS, "sklearn", "matplotlib", "pandas", "scipy.stats"}


def imported(code: str) -> set[str]:
    """Which of `HEAVY` a process has imported after running `code`."""
    report = (
        f"import json, sys; print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


def after_command(*words: str) -> set[str]:
    code = f"import contextlib\nfrom cgir.cli.main import main\nwith contextlib.suppress(SystemExit): main({words!r})"
    return imported(code)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("imports") / "net.json"
    space = frontends.spaces.get("nasbench201")
    space.graph(next(iter(space.enumerate()))).save(path)
    return str(path)


def test_help_imports_nothing_that_computes() -> None:
    assert after_command("--help") <= {"tqdm"}
    assert imported("import cgir") == set()


@pytest.mark.parametrize("command", ["trace", "show", "diff", "predict", "score", "search", "finetune"])
def test_help_of_a_command_imports_no_framework(command: str) -> None:
    assert not after_command(command, "--help") & {"torch", *NEVER}


def test_show_and_diff_of_saved_graphs_do_without_torch(graph: str) -> None:
    assert not after_command("show", graph) & {"torch", *NEVER}
    assert not after_command("diff", graph, graph) & {"torch", *NEVER}


def test_predict_imports_torch_but_not_what_only_fits_and_plots_need(graph: str) -> None:
    found = after_command("predict", graph, "--task", "imagenet_top1")
    assert "torch" in found
    assert not found & NEVER


def test_tracing_a_model_of_torch_imports_no_other_framework() -> None:
    words = ("trace", "frontends.reference:resnet50", "--input-shape", "1,3,224,224")
    found = after_command(*words)
    assert "torch" in found
    assert not found & NEVER


def test_what_is_imported_is_seen() -> None:
    assert imported("import scipy.stats, cgir; cgir.GraphBatch") >= {"scipy.stats", "numpy"}
