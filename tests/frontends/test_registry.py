"""The table of frontends: every row names a module that can trace, and finding one imports no framework."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from cgir import TraceError
from frontends.registry import FILE_FORMATS, MODEL_CLASSES, SAVED_MODEL, frontend_name, has_model_suffix, is_model

MODULES = sorted({row.frontend for row in (*MODEL_CLASSES, *FILE_FORMATS)} | {SAVED_MODEL})


@pytest.mark.parametrize("name", MODULES)
def test_every_frontend_traces_a_model_on_request(name: str) -> None:
    module = importlib.import_module(f"frontends.{name}")
    assert list(inspect.signature(module.trace).parameters) == ["model", "request"]


def test_rows_are_there_once() -> None:
    classes = [(row.package, row.name) for row in MODEL_CLASSES]
    assert len(set(classes)) == len(classes)
    assert len({row.suffix for row in FILE_FORMATS}) == len(FILE_FORMATS)


@pytest.mark.parametrize("row", FILE_FORMATS)
def test_files_are_known_by_their_suffix(row: tuple[str, str], tmp_path: Path) -> None:
    suffix, frontend = row
    path = tmp_path / f"net{suffix}"
    path.write_bytes(b"x")
    assert has_model_suffix(path)
    assert frontend_name(path) == frontend_name(str(path)) == frontend


def test_a_folder_is_a_saved_model(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="is no SavedModel"):
        frontend_name(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"x")
    assert frontend_name(tmp_path) == SAVED_MODEL


def test_models_are_known_by_their_class() -> None:
    assert is_model(b"an ONNX file")
    assert not is_model("net.onnx")
    with pytest.raises(TraceError, match="cannot trace a dict; supported are"):
        frontend_name({})


def test_finding_a_frontend_imports_no_framework() -> None:
    code = (
        "import sys, frontends.registry as registry\n"
        "assert registry.frontend_name(b'') == 'onnx.importer'\n"
        "assert not {'torch', 'onnx', 'keras', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
