"""`cgir space`: list, describe, one network as a graph, many as a data set."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from part_jobs_samples import folder_bytes

import cgir
from cgir.cli.main import main
from frontends import spaces
from frontends.spaces import data_sets


def test_spaces_are_listed_and_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["space"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(spaces.SPACES)
    assert all(len(line.split()) > 5 for line in lines)
    assert main(["space", "transnas_macro", "--seed", "3"]) == 0
    text = capsys.readouterr().out.rstrip().splitlines()[-1]
    assert spaces.get("transnas_macro").format(spaces.get("transnas_macro").parse(text)) == text


def test_one_network_is_a_graph_with_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space, text = spaces.get("transnas_macro"), "64-433241-basic"
    assert (
        main(["space", "transnas_macro", text, "-o", str(tmp_path / "g.json"), "--svg", str(tmp_path / "g.svg")]) == 0
    )
    assert "transnas_macro (module): 103 nodes" in capsys.readouterr().out
    assert cgir.isomorphic(cgir.load(tmp_path / "g.json"), space.graph(space.parse(text)))
    picture = (tmp_path / "g.svg").read_text(encoding="utf-8")
    assert "basic_block0" in picture  # pieces fold like modules
    assert picture.count("<rect") < 40


def test_data_sets_hold_samples_or_everything(tmp_path: Path) -> None:
    drawn = tmp_path / "pool.parquet"
    assert main(["space", "ofa_mbv3", "--sample", "30", "--seed", "1", "-o", str(drawn)]) == 0
    store, space = cgir.GraphStore.open(drawn), spaces.get("ofa_mbv3")
    assert len(store) == 30
    assert set(store.families) == {"ofa_mbv3"}
    assert cgir.isomorphic(store[7], space.graph(space.parse(store.specs[7])))
    assert main(["space", "nasbench_macro", "--all", "-o", str(tmp_path / "all")]) == 0
    assert sorted(cgir.GraphStore.open(tmp_path / "all").specs) == sorted(
        map(spaces.get("nasbench_macro").format, spaces.get("nasbench_macro").enumerate())
    )


def test_a_large_sample_is_written_in_parts_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_sets.sample_jobs, "__defaults__", (0, 10))
    words = ["space", "transnas_macro", "--sample", "25", "--seed", "1", "-o"]
    assert main([*words, str(tmp_path / "pool.parquet")]) == 0
    assert main([*words, str(tmp_path / "serial")]) == 0
    assert main([*words, str(tmp_path / "pool"), "--executor", "processes:2"]) == 0
    whole = folder_bytes(tmp_path / "pool")
    assert whole == folder_bytes(tmp_path / "serial")
    assert len(whole) == 4
    file, folder = (cgir.GraphStore.open(tmp_path / name) for name in ("pool.parquet", "pool"))
    assert (file.specs, file.hashes, file.families) == (folder.specs, folder.hashes, folder.families)
    (tmp_path / "pool" / "_store.json").unlink()  # as if it had been killed
    sorted((tmp_path / "pool").glob("part*"))[1].unlink()
    assert main([*words, str(tmp_path / "pool")]) == 0
    assert main([*words, str(tmp_path / "pool")]) == 0  # nothing is missing
    assert folder_bytes(tmp_path / "pool") == whole


@pytest.mark.slow
def test_an_interruption_is_a_line_and_stops_the_workers(tmp_path: Path) -> None:
    words = ["space", "ofa_mbv3", "--sample", "300000", "-o", str(tmp_path / "s"), "--executor", "processes:2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "cgir", *words], start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None and not list(tmp_path.glob("s/.part-*")):
        time.sleep(0.1)
    start = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    said = f"cgir: interrupted: {tmp_path / 's'}: the parts that are complete stay, and the same call makes the others"
    assert process.communicate()[1].splitlines() == [said]
    assert process.returncode == 130
    assert time.monotonic() - start < 10


def test_a_data_set_is_replaced_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("pool", "pool.parquet"):
        words = ["space", "transnas_macro", "-o", str(tmp_path / name), "--sample"]
        assert main([*words, "5"]) == 0
        assert main([*words, "6"]) == 2
        found = capsys.readouterr().err.splitlines()[-1]
        assert "already" in found
        assert "--overwrite" in found
        assert len(cgir.GraphStore.open(tmp_path / name)) == 5
        assert main([*words, "6", "--overwrite"]) == 0
        assert len(cgir.GraphStore.open(tmp_path / name)) == 6


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["darts", "--all", "-o", "all"], "has 1.1e+18 networks, too many to list (more than 10,000,000)"),
        (["darts", "--sample", "5", "-o", "x", "--executor", "slurm"], "'slurm' is no executor; expected processes:4"),
        (["darts", "--sample", "5", "-o", "x.parquet", "--executor", "dask"], "expected a path without .parquet"),
        (["nasbench101b"], "no search space is called 'nasbench101b'"),
        (["nasbench201", "xx"], "1 nodes separated by '+' in 'xx'"),
        (["nasbench201", "--all"], "needs a search space and a place"),
        (["nasbench_nlp", "--all", "-o", "nlp"], "not finite"),
    ],
)
def test_complaints_are_one_line(
    words: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["space", *words]) == 2
    found = capsys.readouterr().err
    assert complaint in found
    assert found.count("\n") == 1
    assert not list(tmp_path.iterdir())
