"""A user's own file in place of a package of ours is named in one line, on the command line and from Python."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import cgir
from cgir.package_check import ShadowedPackageError, check_packages

ROOT = Path(cgir.__file__).parent.parent
ADVICE = "rename it, start from another folder, or use the console script `cgir` instead of `python -m cgir`"


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, cwd=folder)


def message(file: Path, name: str) -> str:
    return f"{file} is imported in place of the package {name!r} of cgir, which is {ROOT / name}; {ADVICE}"


@pytest.mark.parametrize(
    ("file", "name", "words"),
    [
        ("frontends.py", "frontends", ["trace", "net.py:build"]),
        ("frontends.py", "frontends", ["space"]),
        ("frontends.py", "frontends", ["tables", "list"]),
        ("encoders/__init__.py", "encoders", ["predict"]),
        ("encoders/__init__.py", "encoders", ["pretrain", "store", "-o", "run"]),
        ("encoders.py", "encoders", ["finetune", "net.py:build", "-o", "ranker"]),
        ("contrastive.py", "contrastive", ["demo"]),
    ],
)
def test_the_command_line_names_the_file(tmp_path: Path, file: str, name: str, words: list[str]) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("x = 1\n")
    (tmp_path / "store").mkdir()
    done = run(tmp_path, "-m", "cgir", *words)
    own = tmp_path / name if file.endswith("__init__.py") else tmp_path / file
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"cgir: {message(own, name)}\n")


@pytest.mark.parametrize("file", ["search.py", "encoders/data.csv", "frontends/other.py"])
def test_files_that_hide_nothing_do_not_matter(tmp_path: Path, file: str) -> None:
    """No command needs `search`, and a folder without `__init__.py` comes after any package."""
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("x = 1\n")
    done = run(tmp_path, "-m", "cgir", "space", "nasbench201")
    assert done.returncode == 0, done.stderr
    assert run(tmp_path, "-m", "cgir", "predict").returncode == 0


def test_commands_that_need_no_other_package_work(tmp_path: Path) -> None:
    builder = cgir.GraphBuilder("small")
    builder.output(builder.relu(builder.input((3, 8, 8))))
    builder.build().save(tmp_path / "small.json")
    (tmp_path / "frontends.py").write_text("")
    assert run(tmp_path, "-m", "cgir", "show", "small.json").returncode == 0
    assert run(tmp_path, "-m", "cgir", "diff", "small.json", "small.json").returncode == 0


@pytest.mark.parametrize("package", ["contrastive", "search"])
def test_imports_from_python_name_the_file(tmp_path: Path, package: str) -> None:
    (tmp_path / "encoders").mkdir()
    (tmp_path / "encoders" / "__init__.py").write_text("")
    done = run(tmp_path, "-c", f"import {package}")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"cgir.package_check.ShadowedPackageError: {message(tmp_path / 'encoders', 'encoders')}"
    )


@pytest.mark.parametrize("linked", [("cgir",), ("frontends", "encoders", "contrastive", "search")])
def test_packages_may_be_links(tmp_path: Path, linked: tuple[str, ...]) -> None:
    for package in ("cgir", "frontends", "encoders", "contrastive", "search"):
        if package in linked:
            (tmp_path / package).symlink_to(ROOT / package)
        else:
            shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("*.safetensors", "*.pyc"))
    done = run(tmp_path, "-c", "import contrastive, search; print(search.__file__)")
    assert (done.stdout, done.returncode) == (f"{tmp_path / 'search' / '__init__.py'}\n", 0), done.stderr


def test_the_error_is_one_of_ours_and_of_imports() -> None:
    assert issubclass(ShadowedPackageError, cgir.CgirError)
    assert issubclass(ShadowedPackageError, ImportError)
    check_packages("frontends", "encoders", "contrastive", "search")
