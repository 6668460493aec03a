"""Label tables: published ones against Python's own csv module, the embedded one against its script, damaged files."""

from __future__ import annotations

import csv
import gzip
import json
import os
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import rankdata

import cgir
import frontends
from cgir.analysis.weisfeiler_lehman import graph_hashes
from frontends import spaces, tables

PUBLISHED = {
    "nasbench101": (20_001, "cifar10_val_acc_108ep_1run", "{adjacency_rowmajor}:{interior_ops}"),
    "nasbench101_ecnas": (3_624, "cifar10_test_acc", "{adjacency_rowmajor}:{interior_ops}"),
    "nasbench201": (15_625, "cifar10_test_200ep_mean", "{arch_str}"),
    "nasbench_macro": (6_561, "cifar10_test_acc_mean", "{arch_code8}"),
    "darts": (300, "cifar10_valid_acc_50ep", "{darts_genotype}"),
    "ofa_mbv3": (2_491, "imagenet_val_top1", "ks={ks20};e={e20};d={d5};r={resolution}"),
    "transnas_micro": (4_096, "room_layout_val_metric", "{transnas_arch_str}"),
    "transnas_macro": (3_256, "room_layout_val_metric", "{transnas_arch_str}"),
    "naap440": (440, "cifar10_test_acc_best", "{arch}"),
    "metaqnn": (1_000, "val_acc_e20", "{arch}"),
    "resnet_tinyimagenet": (684, "val_acc_final", "n={num_blocks};f={num_filters};k={filter_size}"),
    "graphgym": (
        7_732,
        "val_accuracy",
        "pre={l_pre};mp={l_mp};post={l_post};stage={stage};agg={agg};bn={bn};act={act}",
    ),
    "nasbench_graph": (26_206, "photo_latency_s", "{link};{ops}"),
    "timm_imagenet": (633, "imagenet_val_top1", "{timm_model}"),
    "nasbench201_latency": (15_625, "lat_eyeriss", "{arch_str}"),
    "ofa_mbv3_latency": (5_000, "lat_v100_1", "ks={ks20};e={e20};d={d5};r={resolution}"),
    "timm_latency": (1_807, "ms_per_image_infer-fp32-nchw-pt240-cpu-i7_12700h-dynamo", "{timm_model}"),
    "openlm": (435, "val_loss_openlm", "d={d};l={l};h={h}"),
    "face_landmarks": (224, "val_error_30ep_tenth", "{arch_def};w={channel_multiplier};d={depth_multiplier}"),
    "lstm_ptb": (280, "val_ppl_best", "l={n_layers};h={n_hidden}"),
    "lemur_fixed_recipe": (5_628, "acc", "{network}"),
    "lemur_networks": (12_632, "best_e1", "{network}"),
}


def folder() -> Path:
    if not os.environ.get("CGIR_DATA"):
        pytest.skip("needs the label tables: set CGIR_DATA")
    return Path(os.environ["CGIR_DATA"])


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_tables_hold_what_the_csv_module_reads(name: str) -> None:
    count, metric, form = PUBLISHED[name]
    with gzip.open(folder() / tables.PUBLISHED_TABLES[name].file, "rt") as file:
        lines = list(csv.DictReader(file))
    table = tables.load(name)
    assert len(table) == len(lines) == count
    assert table.spec_strings == tuple(form.format_map(line) for line in lines)
    for column in table.metrics:
        expected = np.asarray([float(line[column].replace(",", "")) if line[column] else np.nan for line in lines])
        assert table[column].dtype == np.float64
        np.testing.assert_array_equal(table[column], expected)
    assert metric in table.metrics
    for column in set(table.text_columns) - {"tag"}:
        assert table.text_columns[column] == tuple(line[column] for line in lines)
    if name.startswith(("timm", "lemur")):
        assert table.space is None
        assert table.specs == table.spec_strings
    else:
        assert table.space == spaces.get(tables.PUBLISHED_TABLES[name].space)
        for i in (0, 17, count - 1):
            assert table.space.format(table.specs[i]) == table.spec_strings[i]


def test_every_text_reads_back() -> None:
    folder()
    for name in (
        "nasbench101_ecnas",
        "darts",
        "ofa_mbv3",
        "transnas_micro",
        "transnas_macro",
        "nasbench_nlp",
        "openlm",
        "naap440",
        "metaqnn",
        "resnet_tinyimagenet",
        "graphgym",
        "nasbench_graph",
    ):
        table = tables.load(name)
        assert table.space is not None
        assert tuple(map(table.space.format, table.specs)) == table.spec_strings


def test_nasbench_nlp_holds_what_json_reads() -> None:
    with gzip.open(folder() / "nasbench_nlp.jsonl.gz", "rt") as file:
        lines = [json.loads(line) for line in file]
    table = tables.load("nasbench_nlp")
    assert len(table) == len(lines) == 14_322
    assert table.space == spaces.get("nasbench_nlp")
    assert [json.loads(text) for text in table.spec_strings] == [line["recipe"] for line in lines]
    # in the file's order
    assert [list(json.loads(text)) for text in table.spec_strings] == [list(line["recipe"]) for line in lines]
    assert table.text_columns["status"] == tuple(line["status"] for line in lines)
    for metric in (
        "recipe_id",
        "num_params",
        "epochs_run",
        "best_val_loss",
        "final_test_loss",
        "best_val_epoch_test_loss",
        "mean_epoch_s",
    ):
        np.testing.assert_array_equal(
            table[metric], [np.nan if line.get(metric) is None else line[metric] for line in lines]
        )
    for place, epoch in enumerate((3, 10, 25, 50)):
        losses = [line["val_loss_ep"][place] if "val_loss_ep" in line else np.nan for line in lines]
        np.testing.assert_array_equal(table[f"val_loss_{epoch}ep"], losses)
    finished = table.only(status="OK")
    assert len(finished) == 11_598
    assert np.isfinite(finished["val_loss_50ep"]).all()
    assert not any(np.isfinite(table[f"val_loss_{epoch}ep"]).sum() > len(finished) for epoch in (3, 10, 25, 50))


def leads_to_the_output(text: str) -> bool:
    """Whether a path without zero operations leads through a cell of TransNAS-Bench-101."""
    ops = text.split("-")[2].split("_")
    reached = {0}
    for node in (1, 2, 3):
        if any(ops[node - 1][source] != "0" for source in reached):
            reached.add(node)
    return 3 in reached


def test_what_the_docstring_says_of_the_tables() -> None:
    folder()
    ofa = tables.load("ofa_mbv3")
    assert set(ofa.text_columns["supernet"]) == {"ofa_mbv3_w1.0"}
    traces = [source.startswith("DyNAS-T:") for source in ofa.text_columns["source"]]
    assert set(ofa.select(traces)["resolution"]) == {224}
    assert set(ofa.select(traces)["n_val_images"]) == {50_000}
    others = ofa.only(source="MOOFA:MIT_OFA")
    assert set(others["resolution"]) == {128, 160, 192}
    assert set(others["n_val_images"]) == {12_500}
    assert len(others) + sum(traces) == len(ofa)
    ecnas = tables.load("nasbench101_ecnas")
    assert [
        len(ecnas.only(epochs=epochs, repeat=repeat)) for epochs, repeat in ((4, 0), (4, 2), (108, 0), (108, 2))
    ] == [2623, 91, 91, 91]
    assert len(set(ecnas.only(epochs=108).spec_strings)) == 91
    micro = tables.load("transnas_micro")
    assert (micro["room_layout_val_metric"] < 0).all()
    known = {
        metric: np.unique(micro[metric][[not leads_to_the_output(text) for text in micro.spec_strings]])
        for metric in micro.metrics
    }
    assert sum(not leads_to_the_output(text) for text in micro.spec_strings) == 169
    values = dict.fromkeys(micro.metrics, 1) | {
        "room_layout_val_metric": 3,
        "normal_val_metric": 56,
        "autoencoder_val_metric": 56,
    }
    assert {metric: len(labels) for metric, labels in known.items()} == values
    assert len(micro.graphs([not leads_to_the_output(text) for text in micro.spec_strings])) == 169
    timm = tables.load("timm_imagenet")
    assert set(timm.text_columns["pretrain"]) == {""}
    assert timm.text_columns["tag"][0] == "mim_in22k_ft_in22k_in1k"


def test_what_the_docstring_says_of_latencies() -> None:
    folder()
    cells, subnets, models = (tables.load(f"{name}_latency") for name in ("nasbench201", "ofa_mbv3", "timm"))
    assert set(cells.spec_strings) == set(tables.load("nasbench201").spec_strings)
    devices = [column for column in subnets.metrics if column.startswith("lat_")]
    assert (len(cells.metrics), len(devices)) == (27, 12)
    assert all(cells[device].min() > 1 for device in set(cells.metrics) - {"lat_pixel3", "lat_raspi4"})
    assert max(cells[device].min() for device in ("lat_pixel3", "lat_raspi4")) < 0.02
    assert (subnets["resolution"].min(), subnets["resolution"].max()) == (128, 224)
    settings = [column.removeprefix("ms_per_image_") for column in models.metrics if column.startswith("ms_per_image_")]
    assert len(settings) == 18
    single = [name for name in settings if np.nanmax(models[f"bs_{name}"]) == 1]
    assert single == [name for name in settings if "cpu" in name]
    assert len({*zip(models.spec_strings, models["img_size"], strict=True)}) == len(models)


def test_graphs_of_timm_latency_have_the_published_parameters() -> None:
    from frontends.torch.torchvision_ops import declare

    folder()
    declare()
    pytest.importorskip("timm")
    table = tables.load("timm_latency")
    rows = [table.spec_strings.index(model) for model in ("mobilenetv3_small_050", "test_vit2")]
    batch = table.graphs(rows)
    graphs = [batch.graph(place) for place in range(2)]
    assert [graph.nodes[0].shape[-1] for graph in graphs] == table["img_size"][rows].tolist()
    parameters = [graph.num_params / 1e6 for graph in graphs]
    np.testing.assert_allclose(parameters, table["param_count_M"][rows], atol=0.006)


def test_known_values() -> None:
    folder()
    table = tables.load("nasbench201")
    accuracy = table["cifar10_test_200ep_mean"]
    assert int(np.nanargmax(accuracy)) == 6111
    assert abs(np.nanmax(accuracy) - 94.3733) < 1e-4
    assert abs(np.nanmean(accuracy) - 87.06) < 0.05  # published from random samples
    assert abs(np.nanmax(tables.load("nasbench_macro")["cifar10_test_acc_mean"]) - 93.1267) < 1e-4


def test_rows_are_chosen_by_index_truth_and_value() -> None:
    table = tables.load("digits")
    rows = [700, 3, 3, -1]
    part = table.select(rows)
    assert part.spec_strings == tuple(table.spec_strings[row] for row in rows)
    assert part.families == tuple(table.families[row] for row in rows)
    np.testing.assert_array_equal(part["accuracy"], table["accuracy"][rows])
    assert part.specs == tuple(table.specs[row] for row in rows)
    better = table.select(table["accuracy"] > 0.9)
    assert better["accuracy"].min() > 0.9
    assert len(better) == (table["accuracy"] > 0.9).sum()
    assert len(table.select([])) == 0
    assert len(table.only(params=table["params"][5])) == (table["params"] == table["params"][5]).sum()
    for rows in ([750], [-751], [0.5], ["a"], [True], [[1]]):
        with pytest.raises(cgir.LabelError, match="rows must be indices below 750, or one truth value for each row"):
            table.select(rows)  # type: ignore[arg-type]
    with pytest.raises(cgir.LabelError, match="no column 'source'; it has acc_seed0"):
        table.only(source="a")
    with pytest.raises(cgir.LabelError, match=r"no row with params=1\.5 here; the column has .* and \d+ more"):
        table.only(params=1.5)


def test_graphs_are_those_of_the_spaces() -> None:
    table = tables.load("digits")
    rows = [700, 3, 300, 3]
    families = [table.family(table.families[row]).space for row in rows]
    expected = [space.graph(table.specs[row]) for space, row in zip(families, rows, strict=True) if space is not None]
    for batch in (table.graphs(rows), table.select(rows).graphs(), table.graphs(np.asarray(rows))):
        np.testing.assert_array_equal(graph_hashes(batch), [graph.hash for graph in expected])
    assert len(table.graphs([])) == 0
    family = table.family("nasbench201")
    np.testing.assert_array_equal(
        graph_hashes(family.graphs([5, 1])), [family.space.graph(family.specs[i]).hash for i in (5, 1)]
    )  # type: ignore[union-attr]


def test_graphs_of_timm_are_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    from frontends.torch.torchvision_ops import declare

    folder()
    declare()
    timm = pytest.importorskip("timm")
    table = tables.load("timm_imagenet")
    rows = [table.spec_strings.index(name) for name in ("test_vit2.r160_in1k", "mobilenetv3_small_050.lamb_in1k")]
    batch = table.graphs(rows)
    for place, row in enumerate(rows):
        size = int(table["img_size"][row])
        graph = frontends.trace(timm.create_model(table.spec_strings[row]).eval(), input_shape=(1, 3, size, size))
        assert graph_hashes(batch)[place] == graph.hash
        assert abs(graph.num_params / 1e6 - table["param_count_M"][row]) < 0.006
    made: list[str] = []
    monkeypatch.setattr(timm, "create_model", lambda name, **_: made.append(name))
    assert len(table.graphs(rows)) == 2
    assert not made  # once per process
    monkeypatch.setattr(timm, "is_model", lambda name: name != table.spec_strings[rows[0]])
    with pytest.raises(cgir.LabelError, match=r"no longer builds test_vit2\.r160_in1k; leave these rows out"):
        table.graphs(rows)


def test_columns_are_copies() -> None:
    table = tables.load("digits")
    table["accuracy"][:] = 0
    assert table["accuracy"].min() > 0


def test_a_table_of_thousands_prints_in_a_line() -> None:
    table = tables.load("digits").family("nasbench201")
    text = repr(table.select([*range(250)] * 20))
    assert text.startswith(f"Table({table.name!r}, 5,000 networks; acc_seed0, ")
    assert len(text) < 200


def test_a_printed_table_says_what_is_in_it() -> None:
    table = tables.load("digits").family("nasbench201")
    columns = {**table.columns, "late": np.where(np.arange(250) < 3, np.nan, 7.5), "none": np.full(250, np.nan)}
    first, head, *rows, last = str(replace(table, columns=columns)).splitlines()
    assert first == "Table 'digits/nasbench201': 250 networks of nasbench201"
    assert head.split() == ["metric", "values", "lowest", "highest"]
    found = {name: values for name, *values in map(str.split, rows)}
    assert list(found) == list(columns)
    assert found["accuracy"] == ["250", f"{table['accuracy'].min():.6g}", f"{table['accuracy'].max():.6g}"]
    assert (found["late"], found["none"]) == (["247", "7.5", "7.5"], ["0"])
    assert last == f"  first: {table.spec_strings[0][:90]}"


def small_table(path: Path, text: str) -> Path:
    with gzip.open(path / "nasbench_macro_cifar10.csv.gz", "wt") as file:
        file.write(text)
    return path


def test_missing_values_are_nan_and_strings_stay_strings(tmp_path: Path) -> None:
    small_table(tmp_path, "arch_code8,a,b\n00000012,1.5,\n12000000,,3\n")
    for path in (tmp_path, tmp_path / "nasbench_macro_cifar10.csv.gz", str(tmp_path)):
        table = tables.load("nasbench_macro", path)
        assert table.spec_strings == ("00000012", "12000000")
        np.testing.assert_array_equal(table["a"], [1.5, np.nan])
        np.testing.assert_array_equal(table["b"], [np.nan, 3])
        assert table.specs[1] == (1, 2, 0, 0, 0, 0, 0, 0)


def test_the_folder_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CGIR_DATA", raising=False)
    with pytest.raises(cgir.LabelError, match=r"environment variable CGIR_DATA .* path="):
        tables.load("nasbench_macro")
    monkeypatch.setenv("CGIR_DATA", str(tmp_path))
    with pytest.raises(cgir.LabelError, match=r"nasbench_macro_cifar10.csv.gz does not exist"):
        tables.load("nasbench_macro")
    small_table(tmp_path, "arch_code8,a\n00000012,1\n")
    assert len(tables.load("nasbench_macro")) == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("code,a\n00000012,1\n", "no column arch_code8; found code, a"),
        ("arch_code8,a\n00000012,x\n", "column a holds string"),
        ("", "cannot be read"),
    ],
)
def test_foreign_files_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(cgir.FileFormatError, match=complaint) as caught:
        tables.load("nasbench_macro", small_table(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    file = (
        small_table(tmp_path, "arch_code8,a\n" + "".join(f"{i:08d},{i}\n" for i in range(3000)))
        / "nasbench_macro_cifar10.csv.gz"
    )
    whole = file.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"not gzip at all\n"):
        file.write_bytes(damaged)
        with pytest.raises(cgir.FileFormatError, match="nasbench_macro_cifar10"):
            tables.load("nasbench_macro", tmp_path)
    with pytest.raises(cgir.LabelError, match=r"digits.parquet does not exist; .*benchmarks.digits"):
        tables.load("digits", tmp_path / "digits.parquet")
    for content in (b"PAR1 and nothing else", b""):
        (tmp_path / "digits.parquet").write_bytes(content)
        with pytest.raises(cgir.FileFormatError, match="digits"):
            tables.load("digits", tmp_path / "digits.parquet")
    pq.write_table(pa.table({"family": ["nasbench201"], "spec": ["?"], "accuracy": [0.5]}), tmp_path / "digits.parquet")
    with pytest.raises(cgir.FileFormatError, match=r"benchmarks.digits"):
        tables.load("digits", tmp_path / "digits.parquet")


def test_unknown_tables_metrics_and_families() -> None:
    with pytest.raises(cgir.LabelError, match=r"nasbench101, nasbench101_ecnas, .*timm_imagenet, .*digits"):
        tables.load("nasbench301")
    table = tables.load("digits")
    with pytest.raises(cgir.LabelError, match=r"no metric 'acc'; it has acc_seed0.* accuracy"):
        table["acc"]
    with pytest.raises(cgir.LabelError, match="no family 'darts'; it has nasbench101, nasbench201, nasbench_macro"):
        table.family("darts")


def test_digits_needs_no_folder_and_is_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CGIR_DATA", raising=False)
    table = tables.load("digits")
    seeds = np.stack([table[f"acc_seed{seed}"] for seed in table.metadata["training"]["seeds"]], 1)
    np.testing.assert_allclose(table["accuracy"], seeds.mean(1), atol=1e-12)
    assert len(table) == len(table.specs) == 750
    for name, agreement in table.metadata["seed_spearman"].items():
        family = table.family(name)
        rows = [place for place, other in enumerate(table.families) if other == name]
        np.testing.assert_array_equal(family["accuracy"], table["accuracy"][rows])
        assert family.specs == tuple(table.specs[i] for i in rows)
        assert len(family) == 250
        ranks = rankdata(seeds[rows], axis=0)
        assert (
            abs(
                np.mean([np.corrcoef(ranks[:, a], ranks[:, b])[0, 1] for a, b in combinations(range(3), 2)]) - agreement
            )
            < 1e-3
        )


def test_digits_networks_are_distinct_and_connected() -> None:
    table = tables.load("digits")
    for name in dict.fromkeys(table.families):
        family = table.family(name)
        assert family.space is not None
        graphs = [family.space.graph(spec) for spec in family.specs]
        assert len({graph.hash for graph in graphs}) == 250
        np.testing.assert_array_equal(family["params"], [graph.num_params for graph in graphs])
        np.testing.assert_array_equal(family["flops"], [graph.flops for graph in graphs])
        assert min(family["params"]) > 0


def test_training_again_gives_the_labels_again() -> None:
    from benchmarks import digits

    table = tables.load("digits")
    for name, skeleton in digits.SKELETONS.items():
        family = table.family(name)
        assert family.space == spaces.get(name, **skeleton)
        place = int(np.argsort(family["accuracy"])[len(family) // 2])
        # rounding differs between processors, and training amplifies it
        assert abs(digits.train(family.space, family.spec_strings[place], seed=0) - family["acc_seed0"][place]) < 0.05


def test_an_interrupted_build_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import digits

    asked: list[tuple[str, str]] = []

    def measure(job: tuple[str, str]) -> dict[str, Any]:
        asked.append(job)
        accuracies = np.random.default_rng(len(asked)).random(3).tolist()
        return {"family": job[0], "spec": job[1], "accuracies": accuracies, "train_seconds": 1.0}

    monkeypatch.setattr(digits, "measure", measure)
    arguments = ["--out", str(tmp_path / "d.parquet"), "--runs", str(tmp_path / "runs"), "--networks", "4"]
    digits.main(arguments)
    first = tables.load("digits", tmp_path / "d.parquet")
    assert len(first) == len(set(asked)) == 12
    assert set(zip(first.families, first.spec_strings, strict=True)) == set(asked)
    [runs] = (tmp_path / "runs").iterdir()
    lines = runs.read_text().splitlines()
    runs.write_text("\n".join(lines[:7]) + "\n" + lines[7][:20])  # stopped in the middle of a row
    done = asked[:7]
    asked.clear()
    digits.main(arguments)
    assert not set(asked) & set(done)
    assert len(asked) == 5
    again = tables.load("digits", tmp_path / "d.parquet")
    assert again.spec_strings == first.spec_strings
    old = [pair in done for pair in zip(first.families, first.spec_strings, strict=True)]
    np.testing.assert_array_equal(again["accuracy"][old], first["accuracy"][old])
    asked.clear()
    digits.main(arguments)
    assert not asked
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["d.parquet"]
