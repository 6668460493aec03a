"""Where something is to be written is looked at before any work, by every command alike."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cgir import CgirError
from cgir.cli import main as entry
from cgir.cli.main import main
from cgir.cli.output_files import check_file, check_folder, check_place

# each has something wrong beside, which it would complain of later
COMMANDS = [
    ["trace", "absent.onnx", "-o", "no/x"],
    ["trace", "absent.onnx", "--html", "no/x"],
    ["show", "absent.json", "--svg", "no/x"],
    ["diff", "absent.json", "absent.json", "-o", "no/x.html"],
    ["space", "absent", "a", "-o", "no/x"],
    ["space", "absent", "a", "--dot", "no/x"],
    ["tables", "import", "absent", "f", "-o", "no/x"],
    ["tables", "graphs", "absent", "-o", "no/x"],
    ["embed", "absent", "-o", "no/x"],
    ["predict", "absent", "--task", "absent", "-o", "no/x.csv"],
    ["explain", "absent", "--predictor", "absent", "-o", "no/x.svg"],
    ["score", "absent", "-o", "no/x.csv"],
    ["search", "nasbench201", "--table", "digits", "--report", "no/x.html"],
    ["search", "nasbench201", "--table", "digits", "--log", "no/x"],
    ["select", "-o", "no/x.svg"],
    ["select", "--checkpoint", "no/x"],
]
FOLDERS = [["pretrain", "absent"], ["finetune", "absent"], ["demo"]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a file in it."""
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    return tmp_path


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: f"{words[0]} {words[-2]}")
def test_a_missing_folder_is_the_first_complaint(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err == f"cgir: {words[-1]}: there is no folder no\n"


@pytest.mark.parametrize("words", FOLDERS, ids=lambda words: words[0])
def test_a_folder_that_cannot_be_made_is_the_first_complaint(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "-o", "file/run"]) == 2
    assert capsys.readouterr().err == f"cgir: file/run: {Path('file').absolute()} is a file; expected a folder\n"


def test_every_command_that_writes_is_here() -> None:
    parser = entry.build_parser()
    subparsers = next(action for action in parser._actions if action.dest == "command")
    assert isinstance(subparsers.choices, dict)
    writing = {
        name
        for name, sub in subparsers.choices.items()
        if {"-o", "--svg", "--report"} & {word for action in sub._actions for word in action.option_strings}
    }
    assert writing <= {words[0] for words in COMMANDS + FOLDERS}


def test_what_can_be_written() -> None:
    for path in (None, Path("x"), Path("file"), Path("/dev/null"), Path("x.CSV")):
        check_file(path)
    check_file(Path("/dev/null"), ".csv")
    check_file(Path("x.CSV"), ".csv")
    check_place(Path("x"))
    for path in (None, Path("a/b/c"), Path()):
        check_folder(path)
    wrong = {
        "file/x": "file is a file; expected a folder",
        ".": "is a folder; expected a file",
        "x.txt": "ends in .csv or .tsv; call it x.csv",
    }
    for text, message in wrong.items():
        with pytest.raises(CgirError, match=message):
            check_file(Path(text), ".csv", ".tsv")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_nobody_may_write_into() -> None:
    Path("closed").mkdir(mode=0o500)
    for check in (check_file, check_place, check_folder):
        with pytest.raises(CgirError, match="nothing may be written into the folder"):
            check(Path("closed/x"))
