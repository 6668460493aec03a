"""`--device`: one line where there is no such device, before anything takes time."""

from pathlib import Path

import pytest
from encoders_samples import random_cnns

from cgir.cli.main import main
from cgir.store import GraphStore

COMMANDS = {
    "pretrain": "pretrain store -o run",
    "finetune": "finetune store --labels labels.csv -o ranker",
    "predict": "predict store --predictor universal",
    "embed": "embed store -o vectors",
    "search": "search nasbench201 --table digits --queries 2 --log log.jsonl",
    "select": "select --steps 1",
    "score": "score frontends.reference:mobilenet_v3_small --input-shape 2,3,32,32",
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=list(COMMANDS))
def test_a_device_that_is_not_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    GraphStore.write("store", random_cnns(4), specs=list("abcd"))
    Path("labels.csv").write_text("model,accuracy\na,1\nb,2\nc,3\n", encoding="ascii")
    before = sorted(tmp_path.rglob("*"))
    assert main([*words.split(), "--device", "cuda:99"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert "device='cuda:99': PyTorch finds" in lines[0]
    assert sorted(tmp_path.rglob("*")) == before
