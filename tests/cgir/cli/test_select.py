"""`cgir select` as a user meets it: a network with its scores, a drawing, a resumed training, one line for an error."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from cgir.cli import select as command
from cgir.cli.main import main
from frontends import spaces, tables
from search import one_shot

SMALL = ["--channels", "4", "--steps", "3", "--batch", "8"]


def selected(text: str) -> str:
    """The network in the command's answer."""
    return text.split("\n\n")[1].splitlines()[0].partition(": ")[2]


def test_help_names_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(command.RULES) == {*one_shot.RULES, "causal"}
    assert set(command.SPACES) == set(one_shot.SUPERNETS)
    with pytest.raises(SystemExit):
        main(["select", "--help"])
    text = capsys.readouterr().out
    assert all(f"  {rule} " in text and line in text for rule, line in command.RULES.items())


def test_the_command_is_the_library(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["select", *SMALL, "--seed", "2", "--exclude", "none"]) == 0
    text = capsys.readouterr().out
    first, second = one_shot.load_images("digits").split(2)
    network = one_shot.supernet("nasbench201", channels=4, cells=1, image=(1, 8, 8), seed=2)
    trained = one_shot.train(network, first, second, steps=3, batch=8, seed=2, progress=False)
    expected = one_shot.select(trained, second, seed=2, exclude=("none",), progress=False)
    assert text.split("\n\n")[1] == expected.table()
    assert re.match(
        r"supernet of nasbench201, after 3 steps, accuracy 0\.\d\d on its last validation batches; argmax took ",
        text,
    )


@pytest.mark.parametrize(
    "words",
    [
        ["--space", "nasbench1shot1", "--subspace", "3"],
        ["--space", "darts", "--cells", "3", "--partial", "2"],
        ["--order", "2"],
        ["--size", "4"],
    ],
    ids=lambda words: words[1],
)
def test_spaces_and_trainings(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["select", *SMALL, "--steps", "1", *words]) == 0
    name = words[1] if words[0] == "--space" else "nasbench201"
    space = spaces.get(name, **({"subspace": 3} if name == "nasbench1shot1" else {}))
    out = capsys.readouterr().out
    assert ("* is selected, never none\n" in out) == (name == "darts")  # whose networks have no such operation
    text = selected(out)
    assert space.format(space.parse(text)) == text


def test_other_rules_start_from_the_same_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "training.safetensors"
    assert main(["select", *SMALL, "--checkpoint", str(path)]) == 0
    written, network = path.read_bytes(), selected(capsys.readouterr().out)
    assert main(["select", *SMALL, "--checkpoint", str(path)]) == 0
    assert selected(capsys.readouterr().out) == network
    rule = ["--rule", "perturbation", "--option", "criterion=loss", "--option", "count=32"]
    assert main(["select", *SMALL, "--checkpoint", str(path), *rule]) == 0
    assert "; perturbation took" in capsys.readouterr().out
    assert path.read_bytes() == written
    assert main(["select", *SMALL, "--checkpoint", str(path), "--channels", "8"]) == 2
    assert "belongs to another training" in capsys.readouterr().err


def test_a_rule_gets_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["select", "--channels", "4", "--size", "4", "--untrained", "--rule", "zero_cost", "--exclude", "none"]
    assert main([*words, "--option", "batch=4", "--option", "proxy=snip"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("supernet of nasbench201, untrained; zero_cost took")
    assert "none~" not in selected(text)
    assert "; * is selected, never none\n" in text
    causal = ["--rule", "causal", "--option", "count=16", "--option", "batch=8", "--option", "repeats=1"]
    for training in ([], ["--untrained"]):
        assert main(["select", *SMALL, "--size", "4", *causal, *training]) == 0
        assert "; causal took" in capsys.readouterr().out
    tuned = ["--rule", "perturbation", "--option", "count=16", "--option", "tune_steps=1"]
    assert main(["select", *SMALL, "--size", "4", *tuned]) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [("batches=10", 10), ("eta=.1", 0.1), ("published=True", True), ("inverse=neumann", "neumann")],
)
def test_values_of_options(text: str, expected: object) -> None:
    assert command.parse_option(text) == (text.partition("=")[0], expected)


def test_images_of_your_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "mine.npz"
    np.savez(path, images=rng.integers(0, 256, (40, 3, 8, 8), dtype=np.uint8), labels=np.arange(40) % 5)
    assert main(["select", *SMALL, "--data", str(path)]) == 0
    assert selected(capsys.readouterr().out).count("~") == 6


def test_a_drawing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "selected.svg"
    assert main(["select", *SMALL, "-o", str(path)]) == 0
    assert capsys.readouterr().out.endswith(f"wrote {path}\n")
    assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_the_published_accuracy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a table with three networks, the selected one between the others."""
    monkeypatch.delenv("CGIR_DATA", raising=False)
    words = ["select", *SMALL]
    assert main(words) == 0
    without = capsys.readouterr().out
    assert "CIFAR-10" not in without
    space, spec = spaces.get("nasbench201"), selected(without)
    others = [space.format(s) for s in [("none",) * 6, ("skip_connect",) * 6]]
    table = tables.Table("nasbench201", (*others, spec), {"cifar10_test_200ep_mean": np.array([10.0, 94.0, 91.5])})
    monkeypatch.setattr(tables, "load", lambda name: table)
    assert main(words) == 0
    assert "trained by the benchmark's authors: 91.50 % on CIFAR-10, rank 2 of 3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--untrained"], "argmax compares nothing else"),
        (["--subspace", "2"], "nasbench201 has none"),
        (["--rule", "zero_cost", "--option", "x=1"], "zero_cost has no option 'x'; its options are proxy, batch"),
        (["--rule", "perturbation", "--option", "train=digits"], "--option train: is no option of a rule here"),
        (["--rule", "perturbation", "--option", "criterion=x"], "--option criterion=x: there are accuracy, loss"),
        (["--rule", "zero_cost", "--option", "proxy=az_nas"], "--option proxy=az_nas: there are params, flops"),
        (["--rule", "influence", "--option", "inverse=x"], "--option inverse=x: there are sherman_morrison"),
        (["--exclude", "nothing"], "exclude='nothing' is no option of nasbench201"),
        (["--partial", "3"], "expected a divisor of the channels"),
        (["--data", "imagenet"], "no images are called 'imagenet'; there are digits, cifar10, and files .npz"),
        (["--data", "missing.npz"], "missing.npz: no such file"),
        (["--size", "3"], "size=3; expected a divisor of 8"),
        (["-o", "x.png"], "call it x.svg"),
        (["-o", "nowhere/x.svg"], "there is no folder nowhere"),
        (["--device", "abacus"], "device='abacus'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_complaints_are_one_line(
    words: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["select", *SMALL, *words]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert complaint in found.err
    assert found.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["--option", "batches"], ["--rule", "luck"], ["--untrained", "--checkpoint", "x"]])
def test_wrong_usage_is_answered_by_the_parser(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["select", *words])
    assert "cgir select: error: argument" in capsys.readouterr().err
