"""Fitted predictors on disk: one file `predictor.safetensors` in a folder, by the rules of `checkpoints`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor, nn

from cgir.errors import CgirError, FileFormatError, one_line
from cgir.typing import FloatArray, IntArray
from encoders.features.graph_features import GPInputTransform, Scaler
from encoders.features.label_transforms import RankGauss, Standardise
from encoders.gaussian_process.model_averaging import BayesianModelAverage
from encoders.gaussian_process.regression import GaussianProcess
from encoders.models.carl import CARL, CarlConfig
from encoders.models.checkpoints import Tensors, build_encoder, encoder_meta, read_tensors, write_tensors
from encoders.models.heads import MLPHead, Scorer
from encoders.models.registry import ARCHITECTURES, GraphEncoder, architecture, build
from encoders.training.loop import TrainConfig

from .ensemble import Ensemble, Member, Start
from .gnn_member import GnnMember
from .multitask_process import MultitaskGP, SourceSample
from .source_families import SourceModel, TargetContext

if TYPE_CHECKING:
    from .predictor import Predictor

FILE = "predictor.safetensors"


def save(predictor: Predictor, folder: str | PathLike[str]) -> None:
    """See `Predictor.save`."""
    meta: dict[str, Any] = {"head": predictor.head, "task": predictor.task}
    tensors: Tensors = {}
    if predictor.encoder is not None:
        meta["encoder"] = encoder_meta(predictor.encoder)
        tensors |= _prefix("encoder.", predictor.encoder.state_dict())
    start = predictor.networks.start if predictor.networks is not None else None
    if start is not None and not isinstance(start, torch.nn.Module):
        meta["start"] = {"architecture": architecture(build(start)), "config": asdict(start)}
    tensors |= _labels_state(predictor.labels)
    networks = predictor.sources.networks if predictor.sources is not None else predictor.networks
    if networks is not None:
        meta["networks"], state = _networks_state(networks)
        tensors |= state
    if predictor.sources is not None:
        meta["flops"], meta["share"] = predictor.sources.flops, predictor.family.share
        tensors |= _labelled_state(predictor.sources.labelled) | _across_state(predictor.family.across)
    if predictor.process is not None:
        tensors |= _process_state(predictor.process, predictor.views) | _scaler_state("expected.", predictor.expected)
    if predictor.whole is not None:
        meta["whole"], state = _networks_state(predictor.whole.networks)
        tensors |= _prefix("whole.", state) | _arrays({"whole.scale": predictor.whole.scale})
    write_tensors(Path(folder) / FILE, "predictor", tensors, meta)


def load(folder: str | PathLike[str]) -> Predictor:
    """See `Predictor.load`."""
    path = Path(folder) / FILE
    tensors, meta = read_tensors(path, "predictor")
    try:
        encoder = build_encoder(_part(tensors, "encoder."), meta["encoder"], path).eval() if "encoder" in meta else None
        predictor = _unfitted(encoder, meta)
        predictor.labels = _read_labels(tensors)
        if predictor.networks is not None:
            _read_networks(predictor.networks, meta["networks"], tensors, path)
        if "flops" in meta:
            assert predictor.networks is not None
            labelled = _read_labelled(_part(tensors, "labelled."))
            predictor.sources = SourceModel(
                predictor.networks, (float(meta["flops"][0]), float(meta["flops"][1])), labelled
            )
            predictor.family = TargetContext(float(meta["share"]), _read_across(_part(tensors, "across."), labelled))
        if "gp.y" in tensors:
            predictor.process, predictor.views = _read_process(tensors)
            predictor.expected = _read_scaler(tensors, "expected.")
        if "whole" in meta:
            predictor.whole = _read_whole(meta["whole"], _part(tensors, "whole."), path)
        predictor.task = meta["task"]
    except FileFormatError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError, CgirError) as error:
        raise FileFormatError(
            f"{path}: weights and description do not fit together ({one_line(error, 200)}); save it again"
        ) from error
    return predictor


def _unfitted(encoder: GraphEncoder | None, meta: Mapping[str, Any]) -> Predictor:
    from .predictor import Predictor

    start: Start = encoder
    if "start" in meta:
        config, _ = ARCHITECTURES[meta["start"]["architecture"]]
        start = config(**meta["start"]["config"])
    networks = meta.get("networks")
    if networks is None:
        return Predictor(start, meta["head"])
    carl = CarlConfig(**networks["carl"]) if networks["carl"] else None
    train = TrainConfig(**networks["train"])
    return Predictor(
        start, meta["head"], ensemble=networks["ensemble"], frozen=networks["frozen"], train=train, carl=carl
    )


def _networks_state(networks: Ensemble) -> tuple[dict[str, Any], Tensors]:
    # heads that only other families taught are both where `fit` starts and what predicts
    same = networks.sources is not None and networks.sources[0] is networks.members
    groups = ({} if same else {"members": (networks.members, networks.scaler)}) | (
        {"sources": networks.sources} if networks.sources else {}
    )
    meta: dict[str, Any] = {
        "ensemble": networks.ensemble,
        "frozen": networks.frozen,
        "train": asdict(networks.config),
        "tasks": networks.tasks,
    }
    meta["carl"] = asdict(networks.carl) if networks.carl else None
    tensors: Tensors = {}
    for name, (members, scaler) in groups.items():
        meta[name] = len(members)
        tensors |= _scaler_state(f"{name}.", scaler)
        for index, member in enumerate(members):
            moments = _arrays({"mean": member.mean, "deviation": member.deviation})
            tensors |= _prefix(f"{name}.{index}.", member.net.state_dict()) | _prefix(
                f"{name}.{index}.moments.", moments
            )
            if isinstance(member.net, Scorer | CARL):
                meta["member_encoder"] = encoder_meta(member.net.encoder)
    return meta, tensors


def _read_networks(networks: Ensemble, meta: Mapping[str, Any], tensors: Tensors, path: Path) -> None:
    def read(name: str) -> tuple[list[Member], Scaler | None]:
        parts = [_part(tensors, f"{name}.{index}.") for index in range(meta[name])]
        return [_read_member(networks, meta, part, path) for part in parts], _read_scaler(tensors, f"{name}.")

    networks.tasks = tuple(meta["tasks"])
    networks.sources = read("sources") if "sources" in meta else None
    networks.members, networks.scaler = read("members") if "members" in meta else networks.sources or ([], None)


def _read_member(networks: Ensemble, meta: Mapping[str, Any], tensors: Tensors, path: Path) -> Member:
    moments = _part(tensors, "moments.")
    weights = {name: tensor for name, tensor in tensors.items() if not name.startswith("moments.")}
    return Member(_read_net(networks, meta, weights, path), moments["mean"].numpy(), moments["deviation"].numpy())


def _read_net(networks: Ensemble, meta: Mapping[str, Any], tensors: Tensors, path: Path) -> nn.Module:
    hidden, dropout = networks.config.hidden, networks.config.dropout
    if networks.frozen:
        net: nn.Module = MLPHead(tensors["layers.0.weight"].shape[1], hidden, dropout, tasks=len(networks.tasks))
        net.load_state_dict(tensors)
    else:
        encoder = build_encoder(_part(tensors, "encoder."), meta["member_encoder"], path)
        net = CARL(encoder, networks.carl) if networks.loss == "carl" else Scorer(encoder, MLPHead(encoder.dim, hidden))
        # the encoder has its weights, its operators by their names
        net.load_state_dict(
            {
                **_prefix("encoder.", encoder.state_dict()),
                **{name: x for name, x in tensors.items() if not name.startswith("encoder.")},
            }
        )
    return net.eval()


def _process_state(process: BayesianModelAverage, views: GPInputTransform | None) -> Tensors:
    assert views is not None
    one = process.processes[0]  # all have the same labels and views
    tensors = _arrays({"gp.y": one.y, "gp.weights": process.weights, "gp.expected": process.expected})
    tensors |= _arrays(
        {f"gp.{name}": np.stack([getattr(each, name) for each in process.processes]) for name in ("theta", "means")}
    )
    tensors["gp.columns"] = torch.from_numpy(views.columns)
    for index, view in enumerate(one.views[:-1]):
        assert isinstance(view, np.ndarray)
        tensors |= _arrays({f"gp.{index}.view": view})
    return tensors | _scalers_state("gp.", views.scalers) | _sparse_state("gp.subtrees.", one.views[-1])


def _read_process(tensors: Tensors) -> tuple[BayesianModelAverage, GPInputTransform]:
    views = GPInputTransform(_read_scalers(_part(tensors, "gp.")), tensors["gp.columns"].numpy())
    seen = [
        *(tensors[f"gp.{index}.view"].numpy() for index in range(len(views.scalers))),
        _read_sparse(tensors, "gp.subtrees.", views.columns),
    ]
    y, thetas, means = (tensors[f"gp.{name}"].numpy() for name in ("y", "theta", "means"))
    processes = [GaussianProcess(seen, y, theta, means=mean) for theta, mean in zip(thetas, means, strict=True)]
    return BayesianModelAverage(processes, tensors["gp.expected"].numpy(), tensors["gp.weights"].numpy()), views


def _labelled_state(labelled: SourceSample) -> Tensors:
    tensors = {"columns": torch.from_numpy(labelled.columns), "owner": torch.from_numpy(labelled.owner)}
    # they are rounded to that
    tensors |= {f"{index}.view": torch.from_numpy(view).float() for index, view in enumerate(labelled.dense)}
    tensors |= _arrays({"traits": labelled.traits, "scores": labelled.scores}) | _sparse_state(
        "subtrees.", labelled.subtrees
    )
    return _prefix("labelled.", tensors)


def _read_labelled(tensors: Tensors) -> SourceSample:
    dense = [tensors[f"{index}.view"].double().numpy() for index in range(len(tensors)) if f"{index}.view" in tensors]
    columns, owner, traits, scores = (tensors[name].numpy() for name in ("columns", "owner", "traits", "scores"))
    return SourceSample(dense, _read_sparse(tensors, "subtrees.", columns), columns, owner, traits, scores)


def _across_state(across: MultitaskGP | None) -> Tensors:
    if across is None:
        return {}
    return _scalers_state("across.", across.scalers) | _arrays(
        {"across.scales": across.scales, "across.weights": across.weights}
    )


def _read_across(tensors: Tensors, labelled: SourceSample) -> MultitaskGP | None:
    return (
        MultitaskGP(labelled, _read_scalers(tensors), tensors["scales"].numpy(), tensors["weights"].numpy())
        if tensors
        else None
    )


def _sparse_state(prefix: str, matrix: Any) -> Tensors:
    parts = {"data": matrix.data, "indices": matrix.indices.astype(np.int32), "indptr": matrix.indptr.astype(np.int32)}
    return {prefix + name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in parts.items()}


def _read_sparse(tensors: Tensors, prefix: str, columns: IntArray) -> csr_array:
    data, indices, starts = (tensors[prefix + name].numpy() for name in ("data", "indices", "indptr"))
    return csr_array((data, indices, starts), shape=(len(starts) - 1, len(columns) + 1))


def _scalers_state(prefix: str, scalers: Sequence[Scaler]) -> Tensors:
    tensors: Tensors = {}
    for index, scaler in enumerate(scalers):
        tensors |= _scaler_state(f"{prefix}{index}.", scaler)
    return tensors


def _read_scalers(tensors: Tensors) -> list[Scaler]:
    known = [index for index in range(len(tensors)) if f"{index}.mean" in tensors]
    return [Scaler(tensors[f"{index}.mean"].numpy(), tensors[f"{index}.scale"].numpy()) for index in known]


def _read_whole(meta: Mapping[str, Any], tensors: Tensors, path: Path) -> GnnMember:
    networks = Ensemble(None, "hinge", meta["ensemble"], meta["frozen"], TrainConfig(**meta["train"]))
    _read_networks(networks, meta, tensors, path)
    return GnnMember(networks, tensors["scale"].numpy())


def _labels_state(labels: Standardise | RankGauss | None) -> Tensors:
    if isinstance(labels, RankGauss):
        return _arrays({"labels.known": labels.labels, "labels.scores": labels.scores})
    return {} if labels is None else _arrays({"labels.moments": np.asarray([labels.mean, labels.deviation])})


def _read_labels(tensors: Tensors) -> Standardise | RankGauss | None:
    if "labels.known" in tensors:
        return RankGauss(tensors["labels.known"].numpy(), tensors["labels.scores"].numpy())
    return Standardise(*tensors["labels.moments"].tolist()) if "labels.moments" in tensors else None


def _scaler_state(prefix: str, scaler: Scaler | None) -> Tensors:
    return {} if scaler is None else _arrays({f"{prefix}mean": scaler.mean, f"{prefix}scale": scaler.scale})


def _read_scaler(tensors: Tensors, prefix: str) -> Scaler | None:
    return (
        Scaler(tensors[f"{prefix}mean"].numpy(), tensors[f"{prefix}scale"].numpy())
        if f"{prefix}mean" in tensors
        else None
    )


def _arrays(arrays: Mapping[str, FloatArray]) -> Tensors:
    return {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in arrays.items()}


def _prefix(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _part(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
