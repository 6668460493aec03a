"""Weights: encoders, predictors of every kind, states of pretraining, checkpoints of supernets; bytes and contents."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from safetensors import safe_open
from torch import Tensor

import contrastive
from cgir import GraphBatch
from cgir.typing import FloatArray
from encoders import Predictor, compute_features, load_encoder, log_flops, save_encoder
from encoders.models.carl import CarlConfig
from encoders.models.encoder import Encoder, EncoderConfig
from encoders.models.nn_former import SiblingConfig, SiblingTransformer
from encoders.predictors.blend_config import BlendConfig
from encoders.predictors.estimators_blend import BlendEstimator
from encoders.predictors.gnn_member import GnnMember
from encoders.training.loop import TrainConfig
from frontends import spaces
from search import one_shot

from .mutation import mutate_bytes, mutate_json, random_value
from .resealing import write_weights
from .target import Target

DTYPES = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
)
EXTREMES = (0, 1, -1, 127, 2**31 - 1, -(2**31), 2**62, 1e30, float("inf"), float("nan"), 1e-40)
CONFIG = contrastive.PretrainConfig.paper(steps=1, batch=4, projection=8, encoder=EncoderConfig(width=8, layers=1))
HEADS = ("gp", "rank", "mse", "carl", "frozen", "blend", "blend with sources", "gnn")


class Seeds(NamedTuple):
    """Where the files are, and networks that they are read for."""

    folder: Path
    files: tuple[str, ...]
    graphs: GraphBatch


def networks() -> GraphBatch:
    """Small ones."""
    space, rng = spaces.get("nasbench201", cells=1, channels=4), np.random.default_rng(0)
    return space.graphs([space.sample(rng) for _ in range(12)])


def predictor(head: str, graphs: GraphBatch) -> Predictor:
    """A tiny fitted predictor.

    Args:
        head: one of `HEADS`.
        graphs: that it is fitted to.
    """
    train, small = TrainConfig(epochs=1, batch=8, source_steps=2, hidden=4), EncoderConfig(width=8, layers=1)
    labels = np.random.default_rng(1).random(len(graphs))
    if head == "blend with sources":
        made = Predictor(Encoder(small)).fit_sources([(graphs, labels)], tasks=["acc"])
        return made.fit(graphs, labels, pool=graphs, hints={"flops": (graphs, log_flops(graphs))})
    if head == "gnn":
        return with_networks(graphs, labels, train)
    if head in ("gp", "blend"):
        return Predictor(None, head).fit(graphs, labels)
    start = Encoder(small) if head == "frozen" else small
    carl = CarlConfig(width=4, layers=1) if head == "carl" else None
    return Predictor(start, "rank" if head == "frozen" else head, frozen=head == "frozen", train=train, carl=carl).fit(
        graphs, labels
    )


def with_networks(graphs: GraphBatch, labels: FloatArray, train: TrainConfig) -> Predictor:
    """A blend with networks trained from scratch, whether cross-validation prefers them or not.

    Args:
        graphs: that it is fitted to.
        labels: theirs.
        train: how the networks are trained.
    """
    made = Predictor(gnn=True).fit(graphs, labels)
    assert isinstance(made.estimator, BlendEstimator)
    features, config = compute_features(graphs, None), BlendConfig(gnn_members=1, gnn_train=train)
    made.estimator.gnn_member = GnnMember.fit(features, labels, features, labels, 0, config)
    return made


def supernet_checkpoint(path: Path) -> None:
    """A supernet after one step."""
    images = digits()
    network = one_shot.supernet("nasbench201", cells=1, channels=4, image=(1, 8, 8))
    one_shot.train(network, images, images, steps=1, batch=2, path=path, progress=False)


def digits() -> one_shot.Images:
    """A few images."""
    return one_shot.load_images("digits").select(torch.arange(8))


def prepare(folder: Path) -> Seeds:
    """One file of every kind, as small as they get."""
    graphs = networks()
    save_encoder(Encoder(EncoderConfig(width=8, layers=1, layer="gat")), folder / "encoder" / "e.safetensors")
    save_encoder(SiblingTransformer(SiblingConfig(8, 1, 4)), folder / "siblings" / "e.safetensors")
    for head in HEADS:
        predictor(head, graphs).save(folder / head)
    contrastive.pretrain(graphs, CONFIG, run_dir=folder / "state", progress=False)
    (folder / "state" / "encoder.safetensors").unlink()
    supernet_checkpoint(folder / "supernet" / "s.safetensors")
    return Seeds(folder, tuple(sorted(path.parent.name for path in folder.glob("*/*.safetensors"))), graphs)


def write(rng: Generator, seeds: Seeds, folder: Path) -> tuple[str, Path, GraphBatch]:
    """One wrong file; its kind, and the file."""
    kind = seeds.files[int(rng.integers(len(seeds.files)))]
    (source,) = (seeds.folder / kind).glob("*.safetensors")
    path = folder / kind / source.name
    path.parent.mkdir()
    if rng.random() < 0.3:
        path.write_bytes(mutate_bytes(rng, source.read_bytes()))
    else:
        with safe_open(source, framework="pt") as file:
            card = json.loads(file.metadata()["cgir"])
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        if rng.random() < 0.5:
            card = mutate_json(rng, card, 3) if rng.random() < 0.95 else random_value(rng)
        else:
            tensors = _changed(rng, tensors)
        try:
            write_weights(path, json.dumps(card), tensors)
        except (UnicodeEncodeError, RecursionError):
            shutil.copy(source, path)
    return kind, path, seeds.graphs


def _changed(rng: Generator, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Up to three tensors removed, renamed, or with other numbers, types or shapes."""
    for _ in range(int(rng.integers(1, 4))):
        names = sorted(tensors)
        name = names[int(rng.integers(len(names)))]
        tensor, kind = tensors[name], rng.integers(8)
        if kind == 0 and len(names) > 1:
            del tensors[name]
        elif kind == 1:
            tensors[names[int(rng.integers(len(names)))]] = tensor.clone()
        elif kind == 2:
            tensors[name] = tensor.to(DTYPES[int(rng.integers(len(DTYPES)))])
        elif kind == 3:
            tensors[name] = (
                (tensor[None], tensor.reshape(-1), tensor[:0], tensor[:1].clone())[int(rng.integers(4))]
                if tensor.ndim
                else tensor[None]
            )
        elif kind == 4 and tensor.ndim:
            tensors[name] = torch.cat([tensor, tensor[: int(rng.integers(3))]])
        elif tensor.numel():
            flat = tensor.reshape(-1).clone()
            at = rng.integers(len(flat), size=int(rng.integers(1, 4)))
            value = EXTREMES[int(rng.integers(len(EXTREMES)))]
            with np.errstate(all="ignore"):
                flat[torch.from_numpy(at)] = torch.tensor(float(value)).to(flat.dtype)
            tensors[name] = flat.reshape(tensor.shape)
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def read(given: tuple[str, Path, GraphBatch]) -> Any:
    """What the kind of file is for."""
    kind, path, graphs = given
    if kind in ("encoder", "siblings"):
        load_encoder(path).embed(graphs, progress=False)
    elif kind == "state":
        contrastive.pretrain(graphs, CONFIG, run_dir=path.parent, progress=False)
    elif kind == "supernet":
        one_shot.select(one_shot.load_trained(path), digits(), "argmax", progress=False)
    else:
        loaded = Predictor.load(path.parent)
        loaded.predict(graphs, return_std=True) if loaded.has_std else loaded.predict(graphs)


TARGET = Target("weights: encoders, predictors, states, supernets", prepare, write, read)
