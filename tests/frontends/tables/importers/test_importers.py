"""Official benchmark files, written here by hand and by the frameworks that wrote the real ones, read back as tables;
damaged ones are named.
"""

from __future__ import annotations

import bz2
import gzip
import json
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import cgir
from cgir.cli.main import main
from cgir.cli.tables import EPILOG
from frontends import spaces, tables
from frontends.tables.importers import FORMATS, import_table

CELLS_201 = (
    "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|",
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|",
    "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
)


# --- NAS-Bench-201

SETS = {
    "cifar10-valid": ("x-valid", "ori-test"), "cifar10": ("ori-test",),
    "cifar100": ("x-valid", "x-test", "ori-test"), "ImageNet16-120": ("x-valid", "x-test", "ori-test"),
}  # fmt: skip
SEEDS = {"cifar10-valid": [777, 888], "cifar10": [777, 888, 999], "cifar100": [777], "ImageNet16-120": [888]}


def accuracy_201(index: int, epochs: int, data: str, part: str, seed: int) -> float:
    return 50 + index + epochs / 100 + 3 * list(SETS).index(data) + len(part) / 10 + seed / 1000


def trial_201(index: int, epochs: int, data: str, seed: int) -> dict[str, Any]:
    steps = range(epochs)
    curves = {
        f"{part}@{step}": accuracy_201(index, epochs, data, part, seed) * (step + 1) / epochs
        for part in SETS[data]
        for step in steps
    }
    return {
        "name": "infer.tiny", "net_state_dict": {"w": torch.arange(3.0)}, "train_acc1es": dict.fromkeys(steps, 99.0), "train_acc5es": None,
        "train_losses": dict.fromkeys(steps, np.float64(0.1)), "train_times": None, "arch_config": {"arch_str": CELLS_201[index], "num_cells": 5},
        "params": np.float64(0.1 + index), "flop": 15.0 + index, "seed": seed, "epochs": epochs, "latency": [0.01, 0.03], "eval_names": list(SETS[data]),
        "eval_acc1es": curves, "eval_times": {}, "eval_losses": curves,
    }  # fmt: skip


def results_201(index: int, epochs: int) -> dict[str, Any]:
    trials = {(data, seed): trial_201(index, epochs, data, seed) for data, seeds in SEEDS.items() for seed in seeds}
    return {
        "arch_index": index,
        "arch_str": CELLS_201[index],
        "all_results": trials,
        "dataset_seed": SEEDS,
        "clear_net_done": True,
    }


def cell_201(index: int, short: str = "12", full: str = "200") -> dict[str, Any]:
    return {short: results_201(index, 12), full: results_201(index, 200)}


def all_in_one(short: str, full: str) -> dict[str, Any]:
    cells = {index: cell_201(index, short, full) for index in (1, 0, 2)}
    return {"meta_archs": list(CELLS_201), "arch2infos": cells, "evaluated_indexes": [0, 1, 2], "total_archs": 3}


def nats_folder(path: Path) -> Path:
    path.mkdir()
    (path / "meta.pickle.pbz2").write_bytes(
        bz2.compress(pickle.dumps({"meta_archs": list(CELLS_201), "evaluated_indexes": {0, 1, 2}}, 4))
    )
    for index in (2, 0, 1):
        (path / f"{index:06d}.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(cell_201(index), 4)))
    return path


def nats_tar(path: Path) -> Path:
    with tarfile.open(path.with_suffix(".tar"), "w") as archive:
        archive.add(nats_folder(path), "NATS-tss-v1_0-3ffb9-full")
    return path.with_suffix(".tar")


def nats_file(path: Path) -> Path:
    file = path.with_suffix(".pickle.pbz2")
    file.write_bytes(bz2.compress(pickle.dumps(all_in_one("12", "200"), 4)))
    return file


def torch_archive(path: Path) -> Path:
    path.mkdir()
    for index in range(3):
        torch.save(cell_201(index, "less", "full"), path / f"{index:06d}-FULL.pth")
    return path


def torch_201(archive: bool) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        torch.save(all_in_one("less", "full"), path.with_suffix(".pth"), _use_new_zipfile_serialization=archive)
        return path.with_suffix(".pth")

    return write


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


# --- NAS-Bench-301

CELL_301 = (("sep_conv_3x3", 0), ("skip_connect", 1), ("dil_conv_5x5", 0), ("max_pool_3x3", 2), ("sep_conv_5x5", 1), ("avg_pool_3x3", 3),
            ("skip_connect", 0), ("dil_conv_3x3", 4))  # fmt: skip
FIRST_EDGE = (0, 2, 5, 9)


def training_301(accuracy: float, channels: int = 32, layers: int = 8) -> dict[str, Any]:
    prefix = "NetworkSelectorDatasetInfo:darts:"
    config: dict[str, Any] = {
        "OptimizerSelector:sgd:learning_rate": 0.03,
        f"{prefix}init_channels": channels,
        f"{prefix}layers": layers,
    }
    for kind in ("normal", "reduce"):
        for node in range(4):
            pair = CELL_301[2 * node : 2 * node + 2]
            config |= {f"{prefix}edge_{kind}_{FIRST_EDGE[node] + source}": op for op, source in pair}
            if node:
                config[f"{prefix}inputs_node_{kind}_{node + 2}"] = "_".join(str(source) for _, source in pair)
    info = {
        "train_accuracy": 86.6,
        "val_accuracy": accuracy,
        "epochs": 98,
        "model_parameters": 1_234_567,
        "train_loss": 0.66,
    }
    return {
        "final_metric_score": -accuracy,
        "optimized_hyperparamater_config": config,
        "budget": 100,
        "info": [info],
        "test_accuracy": 97.5,
        "runtime": 9999,
    }


def test_nasbench301_trainings(tmp_path: Path) -> None:
    folder = tmp_path / "nb_301_v13"
    for run, accuracy in (("de", 90.5), ("rs", 91.5)):
        (folder / run).mkdir(parents=True)
        (folder / run / "results_0.json").write_text(json.dumps(training_301(accuracy)))
        (folder / run / "surrogate.json").write_text("{}")
    with zipfile.ZipFile(tmp_path / "nb_301.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*.json")):
            archive.write(file, file.relative_to(folder))
    cell = f"{list(CELL_301)}"
    genotype = f"Genotype(normal={cell}, normal_concat=range(2, 6), reduce={cell}, reduce_concat=range(2, 6))"
    for path in (folder, tmp_path / "nb_301.zip"):
        table = import_table("nasbench301", path)
        assert table.specs == (spaces.get("darts").parse(genotype),) * 2
        assert table.space == spaces.get("darts", channels=32, layers=8)
        assert table.text_columns["source"] == ("de", "rs")
        assert table["val_accuracy"].tolist() == [90.5, 91.5]
        assert {metric: table[metric][0] for metric in ("test_accuracy", "budget", "epochs", "init_channels", "layers", "model_parameters", "runtime_s")} == {
            "test_accuracy": 97.5, "budget": 100, "epochs": 98, "init_channels": 32, "layers": 8, "model_parameters": 1_234_567, "runtime_s": 9999,
        }  # fmt: skip
    (folder / "rs" / "results_1.json").write_text(json.dumps(training_301(92.5, layers=20)))
    assert import_table("nasbench301", folder).space == spaces.get("darts")
    for content, complaint in (
        ("{}", "no 'optimized_hyperparamater_config'"),
        ("[", "not trainings"),
        ('{"optimized_hyperparamater_config": {}}', "darts: "),
    ):
        (folder / "rs" / "results_1.json").write_text(content)
        with pytest.raises(cgir.FileFormatError, match=rf"results_1\.json: .*{complaint}"):
            import_table("nasbench301", folder)


# --- TransNAS-Bench-101

CHOSEN = {
    "class_scene": "valid_top1",
    "room_layout": "valid_neg_loss",
    "segmentsemantic": "valid_acc",
    "normal": "valid_ssim",
}
NETWORKS = {"micro": ("64-41414-1_30_321", "64-41414-0_31_203"), "macro": ("64-433241-basic",)}


def curve(text: str, task: str) -> list[float]:
    return [0.1, len(text) / 7, -len(task) / 3]


def transnas() -> dict[str, Any]:
    data = {
        space: {
            text: {
                task: {
                    "model_info": {"encoder_params": 1.5, "arch": text},
                    "metrics": {metric: curve(text, task), "train_loss": [1, 2]},
                    "total_epochs": 3,
                }
                for task, metric in CHOSEN.items()
            }
            for text in texts
        }
        for space, texts in NETWORKS.items()
    }
    return {
        "metrics_dict": {task: [metric] for task, metric in CHOSEN.items()},
        "info_names": ["encoder_params"],
        "task_list": list(CHOSEN),
        "data": data,
    }


@pytest.mark.parametrize("archive", [True, False], ids=["zip", "stream"])
def test_transnas_of_both_spaces(archive: bool, tmp_path: Path) -> None:
    torch.save(transnas(), tmp_path / "transnas-bench.pth", _use_new_zipfile_serialization=archive)
    for space, texts in NETWORKS.items():
        table = import_table(f"transnas_{space}", tmp_path / "transnas-bench.pth")
        assert table.spec_strings == texts
        assert table.space == spaces.get(f"transnas_{space}")
        for task, metric in CHOSEN.items():
            curves = [curve(text, task) for text in texts]
            assert (
                table[f"{task}_{metric}"].tolist()
                == table[f"{task}_val_metric"].tolist()
                == [values[-1] for values in curves]
            )
            assert table[f"{task}_{metric}_best"].tolist() == [max(values) for values in curves]
            assert table[f"{task}_train_loss"].tolist() == [2] * len(texts)
            assert table[f"{task}_encoder_params"].tolist() == [1.5] * len(texts)
        assert not any("arch" in metric or "train_loss_best" in metric for metric in table.metrics)


def test_damaged_files_of_transnas_are_named(tmp_path: Path) -> None:
    file = tmp_path / "x.pth"
    for change, complaint in (
        (
            lambda value: value.pop("data"),
            "no architectures of the micro space under the key 'data'; found metrics_dict, info_names, task_list",
        ),
        (lambda value: value["data"].pop("micro"), "found macro"),
        (
            lambda value: value["data"]["micro"][NETWORKS["micro"][1]]["normal"].pop("metrics"),
            "64-41414-0_31_203: no 'metrics'",
        ),
        (
            lambda value: value["data"]["micro"][NETWORKS["micro"][1]]["normal"]["metrics"].pop("valid_ssim"),
            "64-41414-0_31_203: no 'valid_ssim'",
        ),
        (lambda value: value["data"]["micro"][NETWORKS["micro"][1]].update(normal=3), "64-41414-0_31_203: not results"),
        (lambda value: value["data"]["micro"].update({"64-41414-9_31_203": {}}), "row 2: transnas_micro: "),
    ):
        value = transnas()
        change(value)
        torch.save(value, file)
        with pytest.raises(cgir.FileFormatError, match=rf"x\.pth: .*{complaint}"):
            import_table("transnas_micro", file)


# --- NAS-Bench-NLP

RECIPE = {"f": {"op": "linear", "input": ["x", "h_prev_0"]}, "h_new_0": {"op": "activation_tanh", "input": ["f"]}}


def log_nlp(epochs: int, status: str = "OK") -> dict[str, Any]:
    losses = [6 - 0.1 * epoch + (epoch == 12) * 9 for epoch in range(1, epochs + 1)]
    return {
        "data": "data/ptb", "recepie_id": 7, "recepie": json.dumps(RECIPE), "epochs": 50, "experiment_id": 999, "num_params": 5_731_600, "cuda": True,
        "wall_times": [2.0, 4.0] * (epochs // 2), "train_losses": losses, "val_losses": [loss + 1 for loss in losses],
        "test_losses": [loss + 2 for loss in losses], "status": status,
    }  # fmt: skip


def test_logs_of_nasbench_nlp(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    broken = log_nlp(4, "loss is nan!")
    broken["val_losses"][-1] = float("nan")
    for name, log in (("a", log_nlp(50)), ("b", broken), ("c", log_nlp(0, "Exception: math range error"))):
        (folder / f"log_stats_model_{name}.json").write_text(json.dumps(log))
    with zipfile.ZipFile(tmp_path / "logs.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"logs/{file.name}")
        archive.writestr("__MACOSX/logs/._log_stats_model_a.json", b"\0\5\x16\7")
    for path in (folder, tmp_path / "logs.zip"):
        table = import_table("nasbench_nlp", path)
        assert set(table.spec_strings) == {json.dumps(RECIPE, separators=(",", ":"))}
        assert table.text_columns == {
            "dataset": ("ptb",) * 3,
            "status": ("OK", "loss is nan!", "Exception: math range error"),
        }
        expected = {
            "train_loss_3ep": [5.7, 5.7, np.nan], "val_loss_10ep": [6, np.nan, np.nan], "test_loss_50ep": [3, np.nan, np.nan],
            "best_val_loss": [2, 6.7, np.nan],
            "best_val_epoch_test_loss": [3, 7.7, np.nan], "final_test_loss": [3, 7.6, np.nan], "epochs_run": [50, 4, 0], "epochs_planned": [50] * 3,
            "mean_epoch_s": [3, 3, np.nan], "num_params": [5_731_600] * 3, "recipe_id": [7] * 3, "seed_experiment_id": [999] * 3,
        }  # fmt: skip
        for metric, values in expected.items():
            np.testing.assert_allclose(table[metric], values, rtol=1e-12)
    for change, complaint in (
        (lambda log: log.pop("recepie"), "no 'recepie'"),
        (lambda log: log.update(recepie="[1]"), "a recipe is a JSON object, found list"),
        (lambda log: log.update(val_losses=[1.0]), "losses of 50 train, 1 val, 50 test epochs"),
    ):
        log = log_nlp(50)
        change(log)
        (folder / "log_stats_model_b.json").write_text(json.dumps(log))
        with pytest.raises(cgir.FileFormatError, match=rf"log_stats_model_b\.json: .*{complaint}"):
            import_table("nasbench_nlp", folder)


# --- any columns, files, command line


def test_any_columns(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "cell": CELLS_201,
            "acc": [1.5, None, 3.0],
            "seed": [1, 2, 3],
            "good": [True, False, True],
            "who": ["a", None, "b"],
        }
    )
    frame.to_csv(tmp_path / "x.csv", index=False)
    frame.to_csv(tmp_path / "y.csv.gz", index=False)
    frame.to_parquet(tmp_path / "x.parquet")
    frame.astype({"who": "category"}).to_parquet(tmp_path / "y.parquet")
    for kind, file in (("csv", "x.csv"), ("csv", "y.csv.gz"), ("parquet", "x.parquet"), ("parquet", "y.parquet")):
        table = import_table(kind, tmp_path / file, "nasbench201", "cell")
        assert table.spec_strings == CELLS_201
        assert table.metrics == ("acc", "seed", "good")
        np.testing.assert_array_equal(table["acc"], [1.5, np.nan, 3])
        np.testing.assert_array_equal(table["good"], [1, 0, 1])
        assert table.text_columns == {"who": ("a", "", "b")}
    pq.write_table(pa.table({"cell": CELLS_201, "curve": [[1.0], [2.0], [3.0]]}), tmp_path / "z.parquet")
    for kind, file, space, spec, complaint in (
        ("parquet", "z.parquet", "nasbench201", "cell", "column curve holds list"),
        ("csv", "x.csv", "nasbench201", "arch", "no column arch; found cell, acc"),
        ("csv", "x.csv", "nasbench201", "who", "row 0: nasbench201: "),
        ("parquet", "x.parquet", "nasbench201", "seed", "column seed holds int64, expected the text"),
        ("parquet", "x.csv", "nasbench201", "cell", "cannot be read"),
    ):
        with pytest.raises(cgir.FileFormatError, match=complaint):
            import_table(kind, tmp_path / file, space, spec)
    for arguments, complaint in (
        (("nasbench201", None), "--space NAME --spec COLUMN"),
        ((None, "cell"), "--space NAME --spec COLUMN"),
    ):
        with pytest.raises(cgir.LabelError, match=complaint):
            import_table("csv", tmp_path / "x.csv", *arguments)


def test_imported_tables_are_written_and_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    nats_folder(tmp_path / "NATS-tss-v1_0-3ffb9-simple")
    assert main(["tables", "import", "nasbench201", "NATS-tss-v1_0-3ffb9-simple", "-o", "nb201.parquet"]) == 0
    said = capsys.readouterr().out
    assert "nb201.parquet: 3 rows of nasbench201, " in said
    assert 'frontends.tables.load("nb201.parquet")' in said
    direct, table = import_table("nasbench201", tmp_path / "NATS-tss-v1_0-3ffb9-simple"), tables.load("nb201.parquet")
    assert (table.spec_strings, table.space, table.specs) == (direct.spec_strings, direct.space, direct.specs)
    assert table.metadata["origin"] == "nasbench201: NATS-tss-v1_0-3ffb9-simple"
    assert set(table.metrics) == set(direct.metrics)
    for metric in table.metrics:
        np.testing.assert_array_equal(table[metric], direct[metric])
    named = tables.load("nasbench201", "nb201.parquet")
    assert (named.name, named.spec_strings) == ("nasbench201", table.spec_strings)
    with pytest.raises(cgir.LabelError, match=r"nb201\.parquet is a table of nasbench201, not of darts"):
        tables.load("darts", tmp_path / "nb201.parquet")
    frame = pd.read_parquet("nb201.parquet")
    assert frame["spec"].tolist() == list(CELLS_201)
    assert main(["tables", "import", "nasbench201", "NATS-tss-v1_0-3ffb9-simple"]) == 0
    assert sorted(path.name for path in tmp_path.glob("*.parquet")) == [
        "NATS-tss-v1_0-3ffb9-simple.parquet",
        "nb201.parquet",
    ]


def test_failed_imports_write_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.tfrecord").write_bytes(b"short")
    (tmp_path / "old.parquet").write_bytes(b"kept")
    for arguments, complaint in (
        (["nasbench101", "x.tfrecord"], "x.tfrecord: record 0 at byte 0: cut off"),
        (["nasbench101", "absent"], "absent does not exist; nasbench101 is read from nasbench_only108.tfrecord"),
        (["nasbench", "x.tfrecord"], "no format is called 'nasbench'; there are nasbench101"),
        (["nasbench101", "x.tfrecord", "--space", "darts"], "--space and --spec are for csv and parquet"),
        (["csv", "x.tfrecord", "--space", "dart", "--spec", "a"], "no search space is called 'dart'"),
    ):
        assert main(["tables", "import", *arguments, "-o", "old.parquet"]) == 2
        said = capsys.readouterr().err
        assert said.startswith("cgir: ")
        assert said.count("\n") == 1
        assert complaint in said
    assert (tmp_path / "old.parquet").read_bytes() == b"kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.parquet", "x.tfrecord"]


def test_the_help_names_every_format() -> None:
    for name, about in FORMATS.items():
        assert name in EPILOG
        assert all(
            part in EPILOG
            for part in about.replace(",", "").split()
            if "." in part and "json" not in part and "csv" not in part
        )


def test_the_list_says_where_tables_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CGIR_DATA", raising=False)
    with gzip.open(tmp_path / "nasbench_macro_cifar10.csv.gz", "wt") as file:
        file.write("arch_code8,a\n00000012,1\n")
    assert main(["tables", "list", "--data", str(tmp_path)]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert set(tables.NAMES) <= set(lines)
    assert lines["nasbench_macro"].split()[1:] == ["1", "1", str(tmp_path / "nasbench_macro_cifar10.csv.gz")]
    assert lines["digits"].split()[1] == "750"
    assert "darts_cifar10.csv.gz does not exist" in lines["darts"]
    assert main(["tables", "list"]) == 0
    assert "CGIR_DATA" in capsys.readouterr().out


def test_official_files_give_the_published_table(tmp_path: Path) -> None:
    """The same kind of table either way: equal texts, space and mean accuracies for files written from the published
    values.
    """
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
