"""Models of other zoos under their names in timm: the same number of parameters as the zoo lists."""

from __future__ import annotations

import csv
import gzip
import logging
import os
from pathlib import Path

import pytest

from frontends import tables
from frontends.tables import timm_models
from frontends.tables.zoo_models import counterpart

COUNTS = {
    "paddleclas": (252, 148, 131),
    "mmpretrain": (434, 326, 195),
}  # rows with top-1 on ImageNet-1k, kept, networks
COLUMNS = {"paddleclas": ("params_M", 1e6), "mmpretrain": ("params", 1.0)}
SOME = {"paddleclas": ("ResNet50_vd", "PPLCNet_x0_35", "MixNet_M"), "mmpretrain": ("regnetx-1.6gf_8xb128_in1k",)}


def load(zoo: str) -> tables.Table:
    if not os.environ.get("CGIR_DATA"):
        pytest.skip("needs the label tables: set CGIR_DATA")
    return tables.load(zoo)


def listed(zoo: str) -> dict[str, dict[str, str]]:
    """The rows of a zoo's file that have a top-1 on ImageNet-1k, by its names, as the csv module reads them."""
    file = Path(os.environ["CGIR_DATA"]) / tables.PUBLISHED_TABLES[zoo].file
    with gzip.open(file, "rt") as stream:
        rows = list(csv.DictReader(stream))
    return {row.get("model") or row["name"]: row for row in rows if row["top1"]}


def num_params(model: str, zoo: str) -> int:
    """As the zoo counts them."""
    assert timm_models.find_unknown([model]) == []
    built = timm_models._build(model)
    assert built.num_classes == 1000, model
    count = sum(parameter.numel() for parameter in built.parameters())
    if zoo == "paddleclas":
        count += sum(buffer.numel() for name, buffer in built.named_buffers() if ".running_" in f".{name}")
    return count


@pytest.mark.parametrize("zoo", COUNTS)
def test_rows_with_a_counterpart_are_kept_and_counted(zoo: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        table = load(zoo)
    rows, kept, networks = COUNTS[zoo]
    assert f"{zoo}: {kept} of {rows} models have a counterpart" in caplog.text
    assert len(table) == kept
    assert len(set(table.graph_names)) == networks
    assert table.space is None
    assert table.has_graph.all()
    lines = listed(zoo)
    for row, name in enumerate(table.text_columns["model"]):
        model, pixels = counterpart(zoo, name)  # type: ignore[misc]
        assert (table.spec_strings[row], table["img_size"][row]) == (model, pixels)
        assert table.graph_names[row] == f"{model}@{pixels}"
        assert table["top1"][row] == float(lines[name]["top1"])


def check(zoo: str, names: list[str]) -> None:
    column, unit = COLUMNS[zoo]
    lines, counts = listed(zoo), dict[str, int]()
    for name in names:
        model, _ = counterpart(zoo, name)  # type: ignore[misc]
        if model not in counts:
            counts[model] = num_params(model, zoo)
        assert counts[model] == pytest.approx(float(lines[name][column]) * unit, rel=0.01), (name, model)


@pytest.mark.parametrize("zoo", COUNTS)
def test_some_counterparts_have_the_listed_parameters(zoo: str) -> None:
    table = load(zoo)
    names = [name for name in table.text_columns["model"] if name in SOME[zoo]]
    assert len(names) == len(SOME[zoo])
    check(zoo, names)


@pytest.mark.slow
@pytest.mark.parametrize("zoo", COUNTS)
def test_all_counterparts_have_the_listed_parameters(zoo: str) -> None:
    check(zoo, list(load(zoo).text_columns["model"]))


def test_graphs_are_those_of_timm() -> None:
    table = load("paddleclas")
    row = table.text_columns["model"].index("PPLCNet_x0_35")
    batch = table.graphs([row])
    built = timm_models._build("lcnet_035")
    assert batch.graph(0).num_params == sum(parameter.numel() for parameter in built.parameters())
    assert len(batch) == 1


def test_names_without_a_counterpart() -> None:
    for zoo, name in (
        ("paddleclas", "RepVGG_A0"),  # fused
        ("paddleclas", "PPLCNet_x2_0"),
        ("paddleclas", "ResNet200_vd"),  # other depths than timm's
        ("paddleclas", "SwinTransformerV2_tiny_patch4_window8_256"),  # its list has other counts
        ("mmpretrain", "resnet34_8xb32_in1k"),  # a misprint in its list
        ("mmpretrain", "resnet50_spark-pre_300e_in1k"),
    ):
        assert counterpart(zoo, name) is None
    assert counterpart("mmpretrain", "swin-base_3rdparty_in1k-384") == ("swin_base_patch4_window12_384", 384)
    assert counterpart("mmpretrain", "vit-base-p32_clip-openai-in12k-pre_3rdparty_in1k-384px") == (
        "vit_base_patch32_clip_384.laion2b_ft_in12k_in1k",
        384,
    )
    assert counterpart("paddleclas", "EfficientNetB3") == ("tf_efficientnet_b3", 300)
