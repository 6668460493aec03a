"""Weights that were damaged, or that claim what they are not: one error, before memory is taken."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cgir import FileFormatError, LimitError, Limits
from encoders import Predictor, load_encoder, save_encoder
from encoders.models.checkpoints import read_tensors, write_tensors
from encoders.models.encoder import Encoder, EncoderConfig
from encoders.models.nn_former import SiblingConfig, SiblingTransformer
from frontends import spaces


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_encoder(Encoder(EncoderConfig(width=8, layers=1)), tmp_path / "e.safetensors")
    return tmp_path / "e.safetensors"


def test_every_byte_of_the_tensors_is_checked(path: Path) -> None:
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    for at in np.random.default_rng(0).integers(start, len(data), 100).tolist():
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(FileFormatError, match="damaged: its content does not match its checksum; restore it"):
            load_encoder(path)


@pytest.mark.parametrize(
    "config",
    [
        {"width": 10**9}, {"layers": 10**6}, {"layers": 10**30}, {"width": True}, {"width": 8.0}, {"width": None},
        {"layer": []}, {"dropout": "0"}, {"more": 1},
    ],
)  # fmt: skip
def test_configurations_that_are_none_of_these_weights(path: Path, config: dict[str, Any]) -> None:
    tensors, meta = read_tensors(path, "encoder")
    write_tensors(path, "encoder", tensors, meta | {"config": meta["config"] | config})
    with pytest.raises(FileFormatError, match="do not fit together"):
        load_encoder(path)


def test_a_transformer_that_claims_more_than_it_has(path: Path) -> None:
    save_encoder(SiblingTransformer(SiblingConfig(8, 1, 4)), path)
    tensors, meta = read_tensors(path, "encoder")
    write_tensors(path, "encoder", tensors, meta | {"config": meta["config"] | {"feed_forward": 10**9}})
    with pytest.raises(FileFormatError, match="do not fit together"):
        load_encoder(path)


def test_numbers_of_another_type_are_not_converted(path: Path) -> None:
    tensors, meta = read_tensors(path, "encoder")
    name = next(name for name in tensors if name.endswith("weight"))
    write_tensors(path, "encoder", tensors | {name: tensors[name].double()}, meta)
    with pytest.raises(FileFormatError, match=r"float64, expected torch\.float32"):
        load_encoder(path)


def test_files_of_older_versions_are_read_with_one_note(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tensors, meta = read_tensors(path, "encoder")
    save_file(tensors, path, {"cgir": json.dumps(meta)})
    with caplog.at_level(logging.WARNING):
        load_encoder(path)
    (record,) = caplog.records
    assert "e.safetensors: has no checksum" in record.message
    assert record.message.endswith("load it and save it again")
    save_file(tensors, path, {"cgir": json.dumps(meta), "checksul": "12345678"})
    with pytest.raises(FileFormatError, match="does not match its checksum"):
        load_encoder(path)


def test_a_process_of_too_many_labels_is_refused_before_its_matrix(tmp_path: Path) -> None:
    space, rng = spaces.get("nasbench201", cells=1, channels=4), np.random.default_rng(0)
    graphs = space.graphs([space.sample(rng) for _ in range(12)])
    Predictor(head="gp").fit(graphs, np.arange(12.0)).save(tmp_path)
    with pytest.raises(LimitError, match="a matrix of 12 x 12: takes 1,152 bytes, more than the limit of 1,000"):
        Predictor.load(tmp_path, Limits(bytes=1000))
    file = tmp_path / "predictor.safetensors"
    tensors, meta = read_tensors(file, "predictor")
    write_tensors(file, "predictor", tensors | {"gp.y": torch.zeros(10**6, dtype=torch.float64)}, meta)
    with pytest.raises(LimitError, match="a matrix of 1,000,000 x 1,000,000"):
        Predictor.load(tmp_path)
