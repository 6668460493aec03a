"""Encoder files: equal after a round trip, valid when the operator table changes; other files are refused."""

import json

import numpy as np
import pytest
import torch
from encoders_samples import random_cnns
from safetensors.torch import save_file

from cgir.errors import FileFormatError
from cgir.ops import INDEX
from encoders import Encoder, EncoderConfig, load_encoder, save_encoder
from encoders.engine.batching import GraphTensors
from encoders.models.checkpoints import build_encoder, encoder_meta, read_tensors, write_tensors
from encoders.models.conv_layers import LAYERS

CONFIG = EncoderConfig(width=8, layers=2, layer="gcn", dropout=0.1)
OPS = "embedding.op.weight"


def test_round_trip(tmp_path):
    encoder, graphs = Encoder(CONFIG, seed=4), random_cnns(3)
    save_encoder(encoder, tmp_path / "new" / "e.safetensors")
    loaded = load_encoder(tmp_path / "new" / "e.safetensors")
    assert loaded.config == CONFIG
    assert not loaded.training
    assert (loaded.embed(graphs) == encoder.embed(graphs)).all()


@pytest.mark.parametrize("layer", LAYERS)
def test_checkpoints_hold_every_layer_and_running_statistics(layer, tmp_path):
    encoder = Encoder(EncoderConfig(width=8, layers=2, layer=layer, norm="batch", pool="attention"), seed=5).train()
    graphs = random_cnns(12)
    before = encoder.embed(graphs)
    encoder(GraphTensors(graphs, 2).minibatch(range(len(graphs))))
    after = encoder.embed(graphs)
    assert not np.allclose(before, after)
    save_encoder(encoder, tmp_path / "encoder.safetensors")
    assert np.array_equal(load_encoder(tmp_path / "encoder.safetensors").embed(graphs), after)


def test_the_same_tensors_give_the_same_bytes(tmp_path):
    """The library writes the entries of a header in a random order."""
    for number in range(20):
        write_tensors(tmp_path / f"{number}", "encoder", {"é": torch.ones(3), "a": torch.zeros(0)}, {"name": "ü\n"})
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    tensors, meta = read_tensors(tmp_path / "0", "encoder")
    assert tensors["é"].tolist() == [1, 1, 1]
    assert meta["name"] == "ü\n"


def test_operators_are_found_by_name_when_the_table_changes():
    """Of another table, a renamed operator is unknown and starts as Opaque, one that is no longer there is dropped."""
    encoder = Encoder(CONFIG)
    names = ["Lost", *reversed(INDEX)]
    names.remove("ReLU")
    rows = torch.stack(
        [
            encoder.embedding.op.weight.detach()[INDEX[name]] if name in INDEX else torch.full((8,), 99.0)
            for name in names
        ]
    )
    meta = encoder_meta(encoder) | {"ops": names}
    rebuilt = build_encoder(encoder.state_dict() | {OPS: rows}, meta, "file").embedding.op.weight
    expected = encoder.embedding.op.weight.detach().clone()
    expected[INDEX["ReLU"]] = expected[INDEX["Opaque"]]
    assert torch.equal(rebuilt, expected)


def test_other_files_are_refused(tmp_path):
    file = tmp_path / "e.safetensors"
    encoder = Encoder(CONFIG)
    meta = encoder_meta(encoder)

    def refuse(message):
        with pytest.raises(FileFormatError, match=message) as error:
            load_encoder(file)
        assert "\n" not in str(error.value)

    refuse("no such file")
    save_file({"w": torch.zeros(2)}, file)
    refuse("file of another program")
    for header in ("{not json", "[1]", "3", "null", '"x"', "[" * 100_000, '{"kind": "encoder", "version": NaN}'):
        save_file({"w": torch.zeros(2)}, file, {"cgir": header})
        refuse("damaged")
    save_file({"w": torch.zeros(2)}, file, {"cgir": json.dumps({"kind": "encoder", "version": 99})})
    refuse("version 99")
    write_tensors(file, "predictor", encoder.state_dict(), meta)
    refuse("expected a cgir encoder, found predictor")
    write_tensors(file, "encoder", encoder.state_dict(), meta | {"features": ["x"]})
    refuse("node features")
    write_tensors(file, "encoder", encoder.state_dict(), meta | {"config": {"width": 9, "layers": 2}})
    refuse("do not fit together")
    write_tensors(file, "encoder", {OPS: encoder.state_dict()[OPS]}, meta)
    refuse("do not fit together")
    write_tensors(file, "encoder", encoder.state_dict(), {})
    refuse("do not fit together")
    file.write_bytes(file.read_bytes()[:-3])
    refuse("damaged")


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "e.safetensors"
    save_encoder(Encoder(CONFIG, seed=1), file)
    old = file.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_encoder(Encoder(CONFIG, seed=2), file)
    assert file.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == [file.name]
    assert read_tensors(file, "encoder")[1]["kind"] == "encoder"
