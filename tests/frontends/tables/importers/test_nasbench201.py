"""NAS-Bench-201 and NATS-Bench: all layouts of their files; damaged ones are named."""

from __future__ import annotations

import bz2
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nats_samples import (
    CELLS_201,
    SEEDS,
    SETS,
    accuracy_201,
    cell_201,
    nats_file,
    nats_folder,
    nats_tar,
    torch_201,
    torch_archive,
)

import cgir
from frontends import spaces, tables
from frontends.tables.importers import import_table


@pytest.mark.parametrize("write", [nats_folder, nats_tar, nats_file, torch_archive, torch_201(True), torch_201(False)])
def test_nasbench201_in_all_its_layouts(write: Callable[[Path], Path], tmp_path: Path) -> None:
    table = import_table("nasbench201", write(tmp_path / "NAS-Bench-201-v1"))
    assert table.spec_strings == CELLS_201
    assert table.space == spaces.get("nasbench201")
    names = {
        "cifar10valid": "cifar10-valid",
        "cifar10": "cifar10",
        "cifar100": "cifar100",
        "imagenet16_120": "ImageNet16-120",
    }
    parts = {"xvalid": "x-valid", "xtest": "x-test", "oritest": "ori-test", "test": "ori-test"}
    means = [metric for metric in table.metrics if metric.endswith("ep_mean")]
    assert len(means) == 2 * sum(map(len, SETS.values()))
    for metric in means:
        start, _, epochs = metric.removesuffix("ep_mean").rpartition("_")
        data, _, part = start.rpartition("_")
        for index in range(3):
            seeds = SEEDS[names[data]]
            each = [accuracy_201(index, int(epochs), names[data], parts[part], seed) for seed in seeds]
            assert table[metric][index] == pytest.approx(np.mean(each), rel=1e-12)
            assert [table[f"{start}_{epochs}ep_seed{seed}"][index] for seed in seeds] == pytest.approx(each, rel=1e-12)
    for data in names:
        np.testing.assert_allclose(table[f"{data}_params_M"], [0.1, 1.1, 2.1])
        np.testing.assert_allclose(table[f"{data}_flops_M"], [15, 16, 17])
        np.testing.assert_allclose(table[f"{data}_latency_s"], 0.02)


def broken_201(change: Callable[[dict[str, Any]], object]) -> bytes:
    cell = cell_201(0)
    change(cell)
    return bz2.compress(pickle.dumps(cell, 4))


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (broken_201(lambda cell: cell["200"].pop("arch_str")), "no 'arch_str' in it"),
        (broken_201(lambda cell: cell["200"]["all_results"].pop(("cifar100", 777))), r"no \('cifar100', 777\) in it"),
        (
            broken_201(lambda cell: cell["12"]["all_results"]["cifar10", 777]["eval_acc1es"].pop("ori-test@11")),
            "no 'ori-test@11' in it",
        ),
        (broken_201(lambda cell: cell["12"].update(all_results=3)), "not results of NAS-Bench-201"),
        (broken_201(lambda cell: cell["12"].update(arch_str=CELLS_201[1])), "not results of NAS-Bench-201"),
        (
            broken_201(lambda cell: cell.update({"90": cell.pop("200")})),
            "results after '90' epochs, expected 12 and 200",
        ),
        (bz2.compress(pickle.dumps([1, 2], 4)), "not results of NAS-Bench-201"),
        (bz2.compress(b"cos\nsystem\n(X\x04\x00\x00\x00truetR."), r"os\.system, which is refused"),
        (b"BZh9 not bz2", "damaged pickle"),
    ],
)
def test_damaged_files_of_nasbench201_are_named(raw: bytes, complaint: str, tmp_path: Path) -> None:
    folder = nats_folder(tmp_path / "NATS")
    (folder / "000001.pickle.pbz2").write_bytes(raw)
    with pytest.raises(cgir.FileFormatError, match=rf"000001\.pickle\.pbz2: .*{complaint}") as caught:
        import_table("nasbench201", folder)
    assert "\n" not in str(caught.value)


def test_foreign_files_for_nasbench201(tmp_path: Path) -> None:
    torch.save({"a": 1, "b": 2}, tmp_path / "x.pth")
    with pytest.raises(cgir.FileFormatError, match="no dictionary with the key 'arch2infos'; found a, b"):
        import_table("nasbench201", tmp_path / "x.pth")
    (tmp_path / "empty").mkdir()
    with pytest.raises(cgir.FileFormatError, match="no file in it"):
        import_table("nasbench201", tmp_path / "empty")
    (tmp_path / "x.txt").write_text("text")
    with pytest.raises(cgir.FileFormatError, match="neither a folder"):
        import_table("nasbench201", tmp_path / "x.txt")
    folder = nats_folder(tmp_path / "NATS")
    (folder / "000003.pickle.pbz2").write_bytes((folder / "000002.pickle.pbz2").read_bytes())
    with pytest.raises(cgir.FileFormatError, match=r"000003\.pickle\.pbz2: cell 2 for the second time"):
        import_table("nasbench201", folder)


def test_official_files_give_the_published_table(tmp_path: Path) -> None:
    """Files written from the published values give the published table: spec strings, space and mean accuracies."""
    if not os.environ.get("CGIR_DATA"):
        pytest.skip("needs the label tables: set CGIR_DATA")
    published = tables.load("nasbench201").select(range(40))
    folder = tmp_path / "NATS-tss-simple"
    folder.mkdir()
    for index, text in enumerate(published.spec_strings):
        mean = published["cifar10_test_200ep_mean"][index]
        trials = {}
        for seed, shift in ((777, -0.5), (888, 0.0), (999, 0.5)):
            curves = {f"ori-test@{step}": mean + shift for step in range(200)}
            trials["cifar10", seed] = {
                "epochs": 200,
                "eval_names": ["ori-test"],
                "eval_acc1es": curves,
                "params": 1.0,
                "flop": 2.0,
                "latency": None,
            }
        result = {
            "arch_index": index,
            "arch_str": text,
            "all_results": trials,
            "dataset_seed": {"cifar10": [777, 888, 999]},
        }
        (folder / f"{index:06d}.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps({"200": result}, 4)))
    tables.write_table(import_table("nasbench201", folder), tmp_path / "nb201.parquet")
    table = tables.load(str(tmp_path / "nb201.parquet"))
    assert (table.spec_strings, table.space, table.specs) == (published.spec_strings, published.space, published.specs)
    np.testing.assert_allclose(table["cifar10_test_200ep_mean"], published["cifar10_test_200ep_mean"], rtol=1e-12)
    assert len(table.graphs([3, 5])) == 2
