"""NAS-Bench-101's records: checked against protobuf itself; damaged ones are named."""

from __future__ import annotations

import base64
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tfrecord_samples import framed

import cgir
from frontends import spaces
from frontends.tables.importers import import_table


@cache
def metrics_class() -> Any:
    """The authors' ModelMetrics, built by protobuf itself."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="metrics.proto", package="nasbench", syntax="proto2")
    kinds = descriptor_pb2.FieldDescriptorProto
    evaluation = file.message_type.add(name="EvaluationData")
    for number, name in enumerate(
        ("current_epoch", "training_time", "train_accuracy", "validation_accuracy", "test_accuracy"), 1
    ):
        evaluation.field.add(name=name, number=number, type=kinds.TYPE_DOUBLE, label=kinds.LABEL_OPTIONAL)
    evaluation.field.add(name="checkpoint_path", number=6, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    metrics = file.message_type.add(name="ModelMetrics")
    metrics.field.add(
        name="evaluation_data",
        number=1,
        type=kinds.TYPE_MESSAGE,
        label=kinds.LABEL_REPEATED,
        type_name=".nasbench.EvaluationData",
    )
    metrics.field.add(name="trainable_parameters", number=2, type=kinds.TYPE_INT32, label=kinds.LABEL_OPTIONAL)
    metrics.field.add(name="total_time", number=3, type=kinds.TYPE_DOUBLE, label=kinds.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("nasbench.ModelMetrics"))


CELLS_101 = (
    ("a" * 32, "0110000100010000", "input,conv3x3-bn-relu,maxpool3x3,output", 8_555_530),
    ("b" * 32, "001000000", "input,conv1x1-bn-relu,output", 227_274),
)


def record_101(
    cell: tuple[str, str, str, int], epochs: int, accuracies: tuple[float, float, float], evaluations: int = 3
) -> bytes:
    metrics = metrics_class()()
    for step in range(evaluations):
        share = step / 2
        row = metrics.evaluation_data.add(
            current_epoch=epochs * share, training_time=1000.0 * share, checkpoint_path="" if step else "start"
        )
        row.train_accuracy, row.validation_accuracy, row.test_accuracy = (value * share for value in accuracies)
    metrics.trainable_parameters, metrics.total_time = cell[3], 2000.5
    return json.dumps([*cell[:1], epochs, *cell[1:3], base64.b64encode(metrics.SerializeToString()).decode()]).encode()


def write_101(file: Path, *records: bytes) -> Path:
    file.write_bytes(b"".join(map(framed, records)))
    return file


def test_nasbench101_records(tmp_path: Path) -> None:
    # the last cell has two runs of 108
    trainings = [(cell, epochs, run) for run in range(3) for cell in CELLS_101 for epochs in (12, 108)][:-1]
    accuracy = {key: tuple(np.random.default_rng(number).random(3).tolist()) for number, key in enumerate(trainings)}
    file = write_101(
        tmp_path / "nasbench_full.tfrecord",
        *(record_101(cell, epochs, accuracy[cell, epochs, run]) for cell, epochs, run in trainings),
    )
    table = import_table("nasbench101", file)
    assert table.space == spaces.get("nasbench101")
    assert table.spec_strings == ("0110000100010000:02", "001000000:1")
    assert table.text_columns["module_hash"] == ("a" * 32, "b" * 32)
    np.testing.assert_array_equal(table["trainable_parameters"], [8_555_530, 227_274])
    for epochs in (12, 108):
        np.testing.assert_array_equal(table[f"training_time_s_{epochs}ep_mean"], 1000)
        for part, name in enumerate(("train", "val", "test")):
            for row, cell in enumerate(CELLS_101):
                runs = [accuracy[cell, epochs, run][part] for run in range(3) if (cell, epochs, run) in accuracy]
                found = [table[f"cifar10_{name}_acc_{epochs}ep_run{run}"][row] for run in range(3)]
                np.testing.assert_array_equal(found, [*runs, *[np.nan] * (3 - len(runs))])
                assert table[f"cifar10_{name}_acc_{epochs}ep_mean"][row] == pytest.approx(np.mean(runs), rel=1e-12)
                assert table[f"cifar10_{name}_acc_{epochs}ep_half_mean"][row] == pytest.approx(
                    np.mean(runs) / 2, rel=1e-12
                )


def test_damaged_records_of_nasbench101_are_named(tmp_path: Path) -> None:
    good = record_101(CELLS_101[0], 108, (0.1, 0.2, 0.3))
    _, adjacency, ops, count = CELLS_101[0]
    parts = json.loads(good)
    bad = (
        (
            record_101(CELLS_101[0], 108, (0, 0, 0), evaluations=2),
            "metrics with 2 evaluations and 8555530 parameters; expected 3",
        ),
        (b"[1, 2]", "not enough values"),
        (b"\xff\xfe", "not records of NAS-Bench-101"),
        (json.dumps([*parts[:4], "!!"]).encode(), "not records of NAS-Bench-101"),
        (json.dumps([*parts[:4], parts[4][:40]]).encode(), "metrics"),
        (
            json.dumps(["c", *parts[1:3], "input,conv5x5,output", parts[4]]).encode(),
            "operations 'input,conv5x5,output'",
        ),
        (record_101(("c", adjacency, ops, -1), 108, (0, 0, 0)), "not records of NAS-Bench-101"),
    )
    for record, complaint in bad:
        with pytest.raises(cgir.FileFormatError, match=r"x\.tfrecord: record 1: ") as caught:
            import_table("nasbench101", write_101(tmp_path / "x.tfrecord", good, record))
        assert complaint in str(caught.value)
        assert "\n" not in str(caught.value)
    wrong = record_101(("c", "0100000010000100", ops, count), 108, (0, 0, 0))
    with pytest.raises(cgir.FileFormatError, match=r"x\.tfrecord: row 1: nasbench101: "):
        import_table("nasbench101", write_101(tmp_path / "x.tfrecord", good, wrong))
    with pytest.raises(cgir.FileFormatError, match="no records"):
        import_table("nasbench101", write_101(tmp_path / "x.tfrecord"))
