"""What an installed wheel must do outside the repository: `python tests/wheel_check.py` in a clean environment.

Run by `make wheel` in an empty folder of its own; pytest does not collect it.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import metadata, version
from pathlib import Path

import torch

import cgir
import encoders
import frontends
from frontends.reference import resnet50

PACKAGES = ("cgir", "frontends", "encoders", "contrastive", "search")
PROGRAM = """\
import frontends
graph = frontends.trace(object(), input_shape=(1, 3, 224, 224))
reveal_type(graph.num_params)
"""


def check_files() -> None:
    """Code comes from the environment, not from a checkout; type information and the licence came along."""
    site = Path(cgir.__file__).parent.parent
    assert site.name == "site-packages", site
    for package in PACKAGES:
        assert (site / package / "py.typed").is_file(), package
    assert (site / "cgir" / "drawing" / "page" / "page.css").is_file()
    about = site / f"cgir-{version('cgir')}.dist-info" / "licenses"
    assert {file.name for file in about.iterdir()} == {"LICENSE", "NOTICE"}
    text = str(metadata("cgir"))
    assert "](RESULTS.md)" not in text
    assert "](benchmarks/" not in text


def check_trace() -> None:
    """ResNet-50 has the published number of parameters."""
    with torch.device("meta"):
        graph = frontends.trace(resnet50(), input_shape=(1, 3, 224, 224))
    assert graph.num_params == 25_557_032


def check_weights() -> None:
    """The shipped weights rank networks of the embedded label set that they know nothing of."""
    table = frontends.tables.load("digits").family("nasbench101")
    scores = encoders.Predictor(encoders.load_pretrained()).predict(table.space.graphs(table.specs))
    assert encoders.metrics.spearman(scores, table["accuracy"]) > 0.7


def check_commands() -> None:
    """The console script says its version; what needs an extra says which."""
    run = Path(sys.executable).parent / "cgir"
    found = subprocess.run([run, "--version"], capture_output=True, text=True, check=True).stdout
    assert found == f"cgir {version('cgir')}\n"
    assert version("cgir") == cgir.__version__


def check_types() -> None:
    """mypy follows a user's program into the installed packages."""
    Path("program.py").write_text(PROGRAM)
    found = subprocess.run([sys.executable, "-m", "mypy", "--strict", "program.py"], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
    assert 'Revealed type is "int"' in found.stdout, found.stdout


if __name__ == "__main__":
    for check in (check_files, check_trace, check_weights, check_commands, check_types):
        check()
        print(f"{check.__name__}: passed")
