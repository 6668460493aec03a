"""The command: a table that goes on where it was, is labels for the next search, and errors of one line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from killed_children import dies
from ofa_dynamic import DynamicSupernet
from ofa_samples import CLASSES, WIDTHS, write_imagenet

import search
from cgir import CgirError
from cgir.atomic_files import locked
from examples.papers import ofa_accuracy
from examples.papers.ofa_accuracy import COLUMNS, TOP1, Measurement, measurement
from examples.papers.ofa_measure import build_parser, main, measure
from frontends import spaces, tables
from frontends.spaces.mbconv.ofa_mbv3 import Spec, canonical

SPACE = spaces.get("ofa_mbv3", widths=WIDTHS, classes=CLASSES)
SPECS = [SPACE.sample(np.random.default_rng(seed))._replace(r=128) for seed in range(3)]


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    return write_imagenet(tmp_path)


def run(imagenet: Path, *networks: Any) -> int:
    texts = [network if isinstance(network, str) else SPACE.format(network) for network in networks]
    out = ["--out", str(imagenet / "out" / "measured.parquet"), "--device", "cpu", "--workers", "2"]
    return main([str(imagenet / "supernet"), str(imagenet), *texts, *out])


def recorded(monkeypatch: pytest.MonkeyPatch, before: Callable[[int], None] = lambda count: None) -> list[Spec]:
    """The specs that are measured from here on; `before` each, which may raise."""
    found: list[Spec] = []
    whole = Measurement.__call__

    def call(self: Measurement, spec: Spec) -> dict[str, float]:
        before(len(found))
        found.append(spec)
        return whole(self, spec)

    monkeypatch.setattr(Measurement, "__call__", call)
    return found


def test_results_are_a_label_table(imagenet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(imagenet, SPECS[0], SPECS[1]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = tables.load(imagenet / "out" / "measured.parquet")
    assert table.specs == (SPECS[0], SPECS[1])
    assert table.space == SPACE
    assert table.metrics == COLUMNS
    measured = measurement(imagenet / "supernet", imagenet, device="cpu")
    assert table[TOP1].tolist() == [measured(spec)[TOP1] for spec in SPECS[:2]]
    best = int(np.argmax(table[TOP1]))
    assert len(lines) == 2
    assert lines[0].startswith(f"top-1 {table[TOP1].max():.3f} %")
    assert lines[0].endswith(table.spec_strings[best])
    assert len(table.graphs()) == 2


def test_a_network_is_measured_once(imagenet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = SPECS[0]._replace(d=(2, 3, 2, 3, 2))
    same = spec._replace(ks=tuple(7 if place % 4 == 3 else kernel for place, kernel in enumerate(spec.ks)))
    assert canonical(same) == canonical(spec)
    calls = recorded(monkeypatch)
    assert run(imagenet, same, spec, same) == run(imagenet, spec) == 0
    assert calls == [canonical(spec)]


def test_an_interrupted_list_goes_on(imagenet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(count: int) -> None:
        if count == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        calls = recorded(patch, interrupt)
        assert run(imagenet, *SPECS) == 130
        assert calls == SPECS[:2]
    table = tables.load(imagenet / "out" / "measured.parquet")
    assert table.specs == tuple(SPECS[:2])
    calls = recorded(monkeypatch)
    assert run(imagenet, *SPECS) == 0
    assert calls == SPECS[2:]
    whole = tables.load(imagenet / "out" / "measured.parquet")
    assert whole.specs == tuple(SPECS)
    assert whole.select(range(2)).columns["seconds"].tolist() == table["seconds"].tolist()
    assert sorted(path.name for path in (imagenet / "out").iterdir()) == ["measured.parquet"]


@pytest.mark.parametrize("moment", [0, 1])
def test_a_killed_measurement_goes_on(imagenet: Path, monkeypatch: pytest.MonkeyPatch, moment: int) -> None:
    """Killed where a row is about to be seen: what was written before is there, what was not is measured again."""
    out = imagenet / "out" / "measured.parquet"
    assert dies(lambda: run(imagenet, *SPECS), [(os, "replace")], moment)
    before = tables.load(out).specs if moment else ()
    assert before == tuple(SPECS[:moment])
    calls = recorded(monkeypatch)
    assert run(imagenet, *SPECS) == 0
    assert calls == SPECS[moment:]
    assert tables.load(out).specs == tuple(SPECS)
    assert [path.name for path in out.parent.iterdir()] == ["measured.parquet"]


def test_a_table_of_other_weights_or_images_is_not_continued(
    imagenet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(imagenet, SPECS[0]) == 0
    before = (imagenet / "out" / "measured.parquet").read_bytes()
    weights = (imagenet / "supernet").read_bytes()
    torch.save(DynamicSupernet(WIDTHS, CLASSES, 9).state_dict(), imagenet / "supernet")
    assert run(imagenet, SPECS[1]) == 2
    (imagenet / "supernet").write_bytes(weights)
    (imagenet / "val" / "n01" / "0.png").unlink()
    assert run(imagenet, SPECS[1]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert "a table of other weights or images (supernet " in errors[0]
    assert "a table of other weights or images (validation " in errors[1]
    assert (imagenet / "out" / "measured.parquet").read_bytes() == before


def test_two_processes_do_not_write_one_table(imagenet: Path) -> None:
    measured, out = measurement(imagenet / "supernet", imagenet, device="cpu"), imagenet / "measured.parquet"
    with locked(imagenet / ".measured.parquet.lock", out), pytest.raises(CgirError, match="another process is writing"):
        measure(SPECS, measured, out)
    assert not out.exists()


def test_a_measurement_answers_a_search(imagenet: Path) -> None:
    measured = measurement(imagenet / "supernet", imagenet, images=5, device="cpu")
    history = search.random_search(SPACE, None, measured, 2, objectives=TOP1)
    assert history.values.tolist() == [measured(spec)[TOP1] for spec in history.specs]
    assert history.column("n_val_images").tolist() == [5, 5]


def test_errors_are_one_line(imagenet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (imagenet / "damaged").mkdir()
    assert run(imagenet, "ks=3") == run(imagenet, SPACE.format(SPECS[0]).replace("r=128", "r=100")) == 2
    assert main([str(imagenet / "nothing"), str(imagenet), SPACE.format(SPECS[0])]) == 2
    assert main([str(imagenet / "supernet"), str(imagenet / "damaged"), SPACE.format(SPECS[0])]) == 2
    (imagenet / "val" / "n02" / "1.png").write_bytes(b"\x89PNG")
    assert run(imagenet, SPECS[0]) == 2
    errors = capsys.readouterr().err.splitlines()
    expected = (
        "ofa_measure: ks=3: neither a file nor a network",
        "'100'; expected one of 128, 132",
        "nothing: cannot be read",
        "val: no such folder",
        "1.png: cannot be read as an image",
    )
    assert len(errors) == len(expected)
    assert all(part in line for part, line in zip(expected, errors, strict=True))
    assert not (imagenet / "out" / "measured.parquet").exists()


def test_the_help_says_what_was_not_measured() -> None:
    text = " ".join(build_parser().format_help().split())
    for part in ("ofa_mbv3_d234_e346_k357_w1.0", "Table 4", "2,000 training images", "no number of it was measured"):
        assert part in text
    assert f"{ofa_accuracy.STATISTICS_IMAGES:,}" in text
    assert f"batches of {ofa_accuracy.BATCH}" in text


def test_a_table_that_could_not_be_loaded_is_not_begun(imagenet: Path) -> None:
    measured = measurement(imagenet / "supernet", imagenet, device="cpu")
    with pytest.raises(CgirError, match=r"measured\.csv; expected a name that ends in \.parquet"):
        measure(SPECS, measured, imagenet / "measured.csv")
