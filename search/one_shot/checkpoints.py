"""Checkpoints of a supernet's training: everything that its next step depends on, in one safetensors file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from hashlib import blake2b
from os import PathLike
from typing import Any

import torch
from torch import Tensor

from cgir.errors import CgirError, FileFormatError, changed_settings, one_line
from encoders.models.checkpoints import check_claim, read_tensors, write_tensors
from search.zero_cost.isolation import plain_modes

from .supernets import supernet as build_supernet
from .train_settings import TrainSettings
from .trained import Trained
from .training_run import TrainingRun

KIND = "one-shot training"


def save(run: TrainingRun, path: str | PathLike[str]) -> None:
    """Write a run; a reader sees the old file or the new one, never a part."""
    tensors = {f"model.{name}": tensor for name, tensor in run.supernet.state_dict().items()}
    tensors |= {"logits": run.logits, "generator": run.generator.get_state()}
    for which, optimizer in (("sgd", run.sgd), ("adam", run.adam)):
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"{which}.{index}.{name}": value for name, value in state.items() if value is not None}
    write_tensors(path, KIND, tensors, _meta(run) | {"step": run.step, "history": run.history})


def restore(run: TrainingRun, path: str | PathLike[str]) -> None:
    """Bring a run to the state of a checkpoint of the same training.

    Raises:
        CgirError: the file belongs to another training.
        FileFormatError: it is damaged, or none of ours.
    """
    tensors, meta = read_tensors(path, KIND)
    _check_same(run, path, meta)
    try:
        states = _optimizer_states(tensors)
        model = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
        run.supernet.load_state_dict(model)
        _check_shape("logits", tensors["logits"], run.logits)
        with torch.no_grad():
            run.logits.copy_(tensors["logits"])
        for which, optimizer in (("sgd", run.sgd), ("adam", run.adam)):
            _check_complete(run, which, states[which])
            optimizer.load_state_dict({**optimizer.state_dict(), "state": states[which]})
        run.generator.set_state(tensors["generator"])
        run.step, run.history = _progress(meta, run.settings.steps)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError) as error:
        raise FileFormatError(
            f"{path}: incomplete state of a training ({one_line(error, 200)}); remove it to start again"
        ) from error


def load_trained(path: str | PathLike[str]) -> Trained:
    """The supernet that a checkpoint of `train` holds so far; FileFormatError if the file is anything else."""
    tensors, meta = read_tensors(path, KIND)
    try:
        config, settings = dict(meta["supernet"]), TrainSettings(**meta["settings"])
        _check_size(config, tensors)
        network = build_supernet(config.pop("name"), **config).to(_dtype(tensors))
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError) as error:
        raise FileFormatError(f"{path}: describes no supernet ({one_line(error, 200)}); train it again") from error
    with plain_modes(torch.device("cpu")):
        run = TrainingRun(network, settings, torch.device("cpu"))
        restore(run, path)
        return run.result()


def fingerprint(tensors: Iterable[Tensor]) -> str:
    """A digest of their values, by which a checkpoint knows its images and the weights that it began with."""
    digest = blake2b(digest_size=16)
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def _optimizer_states(tensors: Mapping[str, Tensor]) -> dict[str, dict[int, dict[str, Tensor]]]:
    states: dict[str, dict[int, dict[str, Tensor]]] = {"sgd": {}, "adam": {}}
    for name, tensor in tensors.items():
        if name.startswith(("sgd.", "adam.")):
            which, index, key = name.split(".")
            states[which].setdefault(int(index), {})[key] = tensor
    return states


def _check_complete(run: TrainingRun, which: str, states: dict[int, dict[str, Tensor]]) -> None:
    """KeyError if a state of an optimiser is missing, which PyTorch would start anew; ValueError if another."""
    names = ("exp_avg", "exp_avg_sq", "step") if which == "adam" else ("momentum_buffer",)
    if which == "sgd" and run.settings.momentum == 0:
        return
    for index, parameter in enumerate([run.logits] if which == "adam" else run.weights):
        for name in names:
            if name not in states.get(index, {}):
                raise KeyError(f"{which}.{index}.{name}")
            like = torch.empty(()) if name == "step" else parameter
            _check_shape(f"{which}.{index}.{name}", states[index][name], like)


def _meta(run: TrainingRun) -> dict[str, Any]:
    config = run.supernet.config.items()
    supernet = {key: list(value) if isinstance(value, tuple) else value for key, value in config}
    return {"supernet": supernet, "settings": asdict(run.settings), "data": run.data}


def _check_same(run: TrainingRun, path: str | PathLike[str], meta: dict[str, Any]) -> None:
    for part, current in _meta(run).items():
        found = meta.get(part, {})
        if not isinstance(found, dict):
            raise FileFormatError(f"{path}: its {part} are {found!r:.60}; remove it to start again")
        if changes := changed_settings(found, current):
            raise CgirError(
                f"{path}: belongs to another training ({part}: {changes[:300]}); use the same, or another path"
            )


def _check_size(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """ValueError, before it is built, if a supernet cannot be that of these tensors: every cell has convolutions."""
    channels, partial, depth = config["channels"], config["partial"], config.get("cells", config.get("layers", 1))
    if any(type(value) is not int or value < 1 for value in (channels, partial, depth)):
        raise TypeError(f"channels={channels!r:.60}, partial={partial!r:.60}, cells or layers={depth!r:.60}")
    longest = max((max(tensor.shape, default=0) for tensor in tensors.values()), default=0)
    if depth > len(tensors) or max(channels // partial, config.get("classes", 1)) > longest:
        raise ValueError(f"describes {depth} cells of {channels} channels, has {len(tensors)} tensors")
    check_claim(depth * (channels // partial) ** 2, tensors)


def _check_shape(name: str, found: Tensor, like: Tensor) -> None:
    """ValueError if a saved tensor is of another shape, where PyTorch would broadcast it."""
    if found.shape != like.shape:
        raise ValueError(f"{name} of shape {tuple(found.shape)}, expected {tuple(like.shape)}")


def _progress(meta: Mapping[str, Any], steps: int) -> tuple[int, list[dict[str, Any]]]:
    """The step and the history of a checkpoint; ValueError if they are none."""
    step, history = meta["step"], meta["history"]
    if type(step) is not int or not 0 < step <= steps:
        raise ValueError(f"step {step!r} of {steps}")
    if not isinstance(history, list) or not all(isinstance(record, dict) and "step" in record for record in history):
        raise ValueError("history is no list of records")
    return step, history


def _dtype(tensors: Mapping[str, Tensor]) -> torch.dtype:
    """That of the weights in a checkpoint."""
    found = {tensor.dtype for name, tensor in tensors.items() if name.startswith("model.")}
    if len(found) != 1 or not found <= {torch.float32, torch.float64}:
        raise CgirError(f"weights of {', '.join(map(str, found)) or 'no type'}")
    return found.pop()
