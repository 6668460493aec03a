"""Files of format 1: their tensors get the names of format 2, and encoders embed as they did when they were written."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from encoders import load_encoder, save_encoder
from encoders.models.checkpoint_keys import RENAMES, from_format_1
from encoders.models.checkpoints import VERSION
from encoders.models.registry import ARCHITECTURES, build
from frontends import tables

FORMAT_1 = Path(__file__).parents[2] / "data" / "format_1"
FILES = sorted(FORMAT_1.glob("encoder_*.safetensors"))


def header(path):
    with safe_open(path, framework="np") as file:
        return json.loads(file.metadata()["cgir"])


@pytest.fixture(scope="module")
def graphs():
    family = tables.load("digits").family("nasbench201")
    return family.space.graphs(family.specs[:24])


def test_there_are_files_of_four_kinds():
    assert [path.stem for path in FILES] == ["encoder_gat", "encoder_gin", "encoder_graphconv", "encoder_sibling"]
    assert {header(path)["version"] for path in FILES} == {1}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_old_encoders_embed_as_they_did(path, graphs, tmp_path):
    encoder = load_encoder(path)
    expected = np.load(FORMAT_1 / "expected.npz")[path.stem]
    np.testing.assert_allclose(encoder.embed(graphs), expected, atol=1e-6)
    save_encoder(encoder, tmp_path / "new.safetensors")
    assert header(tmp_path / "new.safetensors") == header(path) | {"version": VERSION}
    np.testing.assert_array_equal(load_encoder(tmp_path / "new.safetensors").embed(graphs), encoder.embed(graphs))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_old_name_is_a_name_of_the_model(path):
    meta, old = header(path), load_file(path)
    config, _ = ARCHITECTURES[meta["architecture"]]
    model = build(config(**meta["config"])).state_dict()
    renamed = from_format_1(old, "encoder")
    assert list(map(id, renamed.values())) == list(map(id, old.values()))
    assert renamed.keys() == model.keys()
    assert from_format_1(renamed, "encoder").keys() == renamed.keys()  # new names stay as they are


def test_modules_are_renamed_in_files_of_every_kind():
    old = {"model.encoder.along.layers.1.own.weight": np.zeros(1)}
    for kind in RENAMES:
        assert list(from_format_1(old, kind)) == ["model.encoder.forward_stream.layers.1.self_linear.weight"]
