"""`cgir score` as a user meets it: a table of proxies, best first, and one line for an error."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_samples import write_net, write_nets

import cgir
from cgir.cli import score as command
from cgir.cli.main import main
from encoders.training.seeding import seeded
from frontends import spaces
from search import zero_cost
from search.one_shot import load_images

RANDOM = ["--input-shape", "4,3,8,8"]
FULL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
NO_PATH = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rows(path: str = "scores.csv") -> list[dict[str, str]]:
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_help_names_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(command.PROXIES) == set(zero_cost.NAMES)
    assert all(hasattr(zero_cost, f"rank_{name}") for name in command.RANKS)
    with pytest.raises(SystemExit):
        main(["score", "--help"])
    text = capsys.readouterr().out
    shown = command.PROXIES | command.RANKS | command.TRAININGS
    assert all(f"  {name} " in text and line in text for name, line in shown.items())


def test_the_table_is_sorted_and_shows_costs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = write_nets(tmp_path)[:4]
    assert main(["score", *names, *RANDOM, "--proxies", "synflow,snip", "-o", "scores.csv"]) == 0
    head, *lines = capsys.readouterr().out.split("\n\n")[0].splitlines()
    assert re.split(r" {2,}", head.strip()) == ["rank", "synflow", "snip", "M params", "MFLOPs", "network"]
    found = rows()
    assert [line.split()[0] for line in lines] == ["1", "2", "3", "4"]
    assert [line.split()[-1] for line in lines] == [row["model"] for row in found]
    values = [float(row["synflow"]) for row in found]
    assert values == sorted(values, reverse=True)
    assert sorted(row["model"] for row in found) == sorted(names)
    for row in found:  # a convolution 3x3 of 3 channels with bias, BatchNorm, a linear layer with bias
        width = int(row["model"].partition(":w")[2])
        assert int(row["params"]) == (28 + 2 + 10) * width + 10


def test_small_networks_have_costs_too() -> None:
    row = {"synflow": 1.0, "params": 186.0, "flops": 1_234_567.0}
    assert command.format_scores(["net"], ["synflow"], [row]).split()[-4:] == ["1.0000", "0.00019", "1.235", "net"]


def test_the_command_is_the_library(capsys: pytest.CaptureFixture[str]) -> None:
    space = spaces.get("nasbench201", image=(1, 8, 8))
    with seeded(3):
        module = space.module(space.parse(FULL))
    images = load_images("digits")
    drawn = images.select(torch.randperm(len(images), generator=torch.Generator().manual_seed(3))[:8])
    names = ("snip", "jacob_cov", "params", "flops")
    expected = zero_cost.score(module, drawn.pixels, drawn.labels, names=names, seed=3)
    words = ["--data", "digits", "--batch", "8", "--seed", "3", "--proxies", "snip,jacob_cov", "-o", "scores.csv"]
    assert main(["score", f"nasbench201:{FULL}", *words]) == 0
    (row,) = rows()
    assert {name: float(row[name]) for name in names} == expected
    assert f"{expected['snip']:#.5g}".rstrip(".") in capsys.readouterr().out


def test_undefined_scores_come_last(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", "digits", "--batch", "8", "--proxies", "synflow,params", "-o", "scores.csv"]
    assert main(["score", f"nasbench201:{NO_PATH}", f"nasbench201:{FULL}", *words]) == 0
    head, first, last, empty, note, *_ = capsys.readouterr().out.splitlines()
    assert head.split() == ["rank", "synflow", "M", "params", "MFLOPs", "network"]
    assert first.endswith(FULL)
    assert last.split()[:2] == ["2", "-"]
    assert (empty, note) == ("", "-: undefined for this network")
    assert [row["synflow"] == "" for row in rows()] == [False, True]


def test_a_data_set_and_a_list_of_networks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["space", "nasbench201", "--sample", "2", "-o", "pool"]) == 0
    specs = cgir.GraphStore.open("pool").specs
    (tmp_path / "models.txt").write_text(f"pool\nnasbench201:{FULL}\n\npool\n")
    assert main(["score", "@models.txt", "--data", "digits", "--batch", "4", "--proxies", "params,params"]) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    assert {line.split()[-1] for line in lines} == {f"nasbench201:{spec}" for spec in (*specs, FULL)}


def test_weights_depend_on_the_seed_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = f"{write_net(tmp_path).name}:build"
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    texts = []
    for seed in ("0", "0", "1"):
        assert main(["score", net, *RANDOM, "--proxies", "grad_norm", "--seed", seed]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] != texts[2]
    assert torch.equal(torch.random.get_rng_state(), before)


def test_labels_of_random_images_are_classes_of_the_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "nets.py").write_text("from torch import nn\n\ndef features():\n    return nn.Conv2d(3, 4, 3)\n")
    assert main(["score", "nets.py:features", *RANDOM, "--proxies", "synflow"]) == 0
    assert main(["score", "nets.py:features", *RANDOM, "--proxies", "snip"]) == 2
    assert "nets.py:features: score: targets=None" in capsys.readouterr().err


def test_dense_regression_trains_on_the_images() -> None:
    name, data = f"nasbench201:{FULL}", ["--data", "digits", "--batch", "8"]
    assert main(["score", name, *data, "--proxies", "dense_regression", "-o", "scores.csv"]) == 0
    images = load_images("digits")
    drawn = images.select(torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:8])
    with seeded(0):
        space = spaces.get("nasbench201", image=(1, 8, 8))
        module = space.module(space.parse(FULL))
    (row,) = rows()
    assert float(row["dense_regression"]) == pytest.approx(zero_cost.dense_regression(module, drawn.pixels))


def test_az_nas_ranks_the_networks_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"nasbench201:{text}" for text in (FULL, FULL.replace("3x3", "1x1"), NO_PATH)]
    assert main(["score", *names, "--data", "digits", "--batch", "8", "--proxies", "az_nas", "-o", "scores.csv"]) == 0
    images = load_images("digits")
    drawn = images.select(torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:8])
    space, modules = spaces.get("nasbench201", image=(1, 8, 8)), []
    for name in names:
        with seeded(0):
            modules.append(space.module(space.parse(name.partition(":")[2])))
    expected = zero_cost.rank_az_nas(modules, drawn.pixels, 0)
    found = {row["model"]: float(row["az_nas"] or "nan") for row in rows()}
    assert np.array_equal([found[name] for name in names], expected, equal_nan=True)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["small_net.py:build"], "what shall the networks see?"),
        (["small_net.py:build", "--data", "digits", *RANDOM], "what shall the networks see?"),
        (["small_net.py:build", *RANDOM, "--size", "4"], "--size 4 belongs to --data"),
        (["small_net.py:build", "--data", "digits", "--batch", "1798"], "digits has 1,797 images; expected no more"),
        (["small_net.py:build", "--data", "digits"], "small_net.py:build: "),
        (["small_net.py:build", "--input-shape", "4,1,8,8"], "small_net.py:build: "),
        (["small_net.py:number", *RANDOM], "found a int, expected a model"),
        (["small_net.py:nothing_installed", *RANDOM], "pip install 'cgir[zoo]'"),
        (["small_net.onnx", *RANDOM], "small_net.onnx: a file; proxies need a PyTorch module"),
        (["saved", *RANDOM], "saved: a file; proxies need a PyTorch module"),
        (["small_net.py:build", *RANDOM, "--proxies", "az_nas"], "only small_net.py:build is named"),
        (
            ["small_net.py:build", *RANDOM, "-o", "scores.txt"],
            "scores.txt: expected a file that ends in .csv; call it scores.csv",
        ),
        (["nasbench201:xx", *RANDOM], "nasbench201: 1 nodes separated by '+' in 'xx'"),
        (["nowhere.parquet", *RANDOM], "nowhere.parquet"),
        ([" ", *RANDOM], "the list of networks is empty"),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, list) else "",
)
def test_complaints_are_one_line(
    words: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_net(tmp_path)
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").touch()
    assert main(["score", *words]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert complaint in found.err
    assert found.err.count("\n") == 1


def test_a_network_of_no_space_cannot_be_built_from_a_data_set(capsys: pytest.CaptureFixture[str]) -> None:
    graph = spaces.get("nasbench201").graph(spaces.get("nasbench201").parse(FULL))
    cgir.GraphStore.write("own.parquet", [graph], family="mine")
    assert main(["score", "own.parquet", *RANDOM]) == 2
    assert capsys.readouterr().err.startswith("cgir: own.parquet: a network of 'mine'; expected those of a search")


@pytest.mark.parametrize(
    "words", [["--proxies", "luck"], ["--proxies", ","], ["--batch", "0"], ["--seed", "-1"], ["--seed", "4294967296"]]
)
def test_wrong_usage_is_answered_by_the_parser(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["score", "x.py:net", *RANDOM, *words])
    assert "cgir score: error: argument" in capsys.readouterr().err
