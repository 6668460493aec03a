"""`train`: the bilevel training of a supernet (DARTS, Liu et al. 2019), with checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, fields
from hashlib import blake2b
from math import cos, isfinite, pi
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from cgir.errors import CgirError, FileFormatError, changed_settings, one_line
from encoders.models.checkpoints import read_tensors, write_tensors
from search.devices import as_device
from search.zero_cost.isolation import plain_modes

from .arguments import check_positive, check_seed, check_types
from .bilevel import Batch, LossGradient, Unrolled, architecture_gradient, weight_gradient
from .images import Images
from .network import Supernet
from .supernets import supernet as build_supernet

log = logging.getLogger(__name__)
KIND = "one-shot training"
RECORDS = 100  # entries of the history


@dataclass(frozen=True)
class TrainSettings:
    """Hyperparameters of `train`; the defaults are the published ones (section 3.1 there), but for `alpha_lr`.

    Args:
        steps: pairs of one step of the architecture and one of the weights.
        batch: images of either.
        order: 1 or 2; of the gradient of the architecture.
        seed: of batches, and of the logits' initial values.
        lr: of SGD at the first step.
        min_lr: at the last, by a cosine.
        momentum: of SGD.
        weight_decay: of SGD.
        clip: largest norm of the weights' gradient.
        alpha_lr: of Adam on the logits; published 3e-4, for twenty times as many steps.
        alpha_decay: weight decay of Adam.
        autocast: compute in bfloat16 where PyTorch's autocast does.

    Raises:
        CgirError: a value out of range.
    """

    steps: int
    batch: int = 64
    order: int = 1
    seed: int = 0
    lr: float = 0.025
    min_lr: float = 0.001
    momentum: float = 0.9
    weight_decay: float = 3e-4
    clip: float = 5.0
    alpha_lr: float = 3e-3
    alpha_decay: float = 1e-3
    autocast: bool = False

    def __post_init__(self) -> None:
        what = "one_shot.train"
        check_types(what, vars(self), {field.name: field.default for field in fields(self)} | {"steps": 100})
        if self.steps < 1:
            raise CgirError(f"{what}: steps={self.steps!r}; expected a positive whole number")
        if self.batch < 2:
            raise CgirError(f"{what}: batch={self.batch!r}; BatchNorm needs at least 2 images")
        if self.order not in (1, 2):
            raise CgirError(f"{what}: order={self.order!r}; expected 1 or 2")
        check_seed(what, self.seed)
        check_positive(what, {"lr": self.lr, "alpha_lr": self.alpha_lr, "clip": self.clip})
        for name in ("min_lr", "momentum", "weight_decay", "alpha_decay"):
            if getattr(self, name) < 0 or self.momentum >= 1:
                found = f"{name}={getattr(self, name)!r}, momentum={self.momentum!r}"
                raise CgirError(f"{what}: {found}; expected none below 0, and a momentum below 1")


@dataclass
class Trained:
    """A supernet with its architecture parameters.

    Attributes:
        supernet: with trained weights.
        logits: (A,) architecture parameters.
        history: records of the training: step, losses and accuracy of that step's batches, mixture (A,).
        settings: of the training; empty for an untrained supernet.
    """

    supernet: Supernet
    logits: Tensor
    history: list[dict[str, Any]]
    settings: dict[str, Any]

    @property
    def mixture(self) -> Tensor:
        """(A,) weights of the operations, after the softmax."""
        return self.supernet.mix(self.logits)

    @staticmethod
    def load(path: str | PathLike[str]) -> Trained:
        """What a checkpoint of `train` holds so far; FileFormatError if the file is anything else."""
        tensors, meta = read_tensors(path, KIND)
        try:
            config, settings = dict(meta["supernet"]), TrainSettings(**meta["settings"])
            network = build_supernet(config.pop("name"), **config).to(_dtype(tensors))
        except (KeyError, TypeError, RuntimeError, CgirError) as error:  # RuntimeError: more weights than memory
            raise FileFormatError(f"{path}: describes no supernet ({one_line(error, 200)}); train it again") from error
        with plain_modes(torch.device("cpu")):
            run = _Run(network, settings, torch.device("cpu"))
            run.load(path)
            return run.result()


def untrained(supernet: Supernet) -> Trained:
    """A supernet as it is, with equal weights of all operations."""
    return Trained(supernet, next(supernet.parameters()).detach().new_zeros(supernet.num_weights), [], {})


def train(
    supernet: Supernet,
    train: Images,
    valid: Images,
    *,
    path: str | PathLike[str] | None = None,
    checkpoint_every: int = 100,
    progress: bool = True,
    device: str = "auto",
    **settings: Any,
) -> Trained:
    """Train weights and architecture of a supernet in turns (DARTS, Liu et al. 2019, algorithm 1).

    On a CPU the result depends on the arguments and the number of threads alone; an interrupted run that is called
    again with the same `path` ends with the same bits.

    Args:
        supernet: the start; it stays as it is, a copy is trained.
        train: images that weights are trained on.
        valid: images that the architecture is trained on, of which `train` has none (see `Images.split`).
        path: file for checkpoints, by which an interrupted run resumes.
        checkpoint_every: steps between two of them; the last one is written after the last step.
        progress: show a progress bar.
        device: "auto", "cpu" or "cuda".
        settings: of `TrainSettings`; `steps` must be given.

    Raises:
        CgirError: images and supernet do not fit, a setting is out of range, the checkpoint is of another training, or
            the loss is no longer finite; the last checkpoint stays then.
        FileFormatError: the file at `path` is no checkpoint.
    """
    try:
        chosen = TrainSettings(**settings)
    except TypeError as error:
        names = ", ".join(TrainSettings.__annotations__)
        raise CgirError(f"one_shot.train: {one_line(error)}; settings are {names}") from error
    if type(checkpoint_every) is not int or checkpoint_every < 1:
        raise CgirError(f"one_shot.train: checkpoint_every={checkpoint_every!r}; expected a positive whole number")
    for images in (train, valid):
        check_images(supernet, images)
    where = as_device(device)
    if path is not None:
        _make_folder(path)
    with plain_modes(where):
        run = _Run(supernet, chosen, where)
        run.data = {
            "train": _fingerprint([train.pixels, train.labels]),
            "valid": _fingerprint([valid.pixels, valid.labels]),
            "weights": _fingerprint(supernet.parameters()),
        }
        if path is not None and Path(path).exists():
            run.load(path)
            log.info("one_shot.train: resuming at step %d of %d from %s", run.step, chosen.steps, path)
        with tqdm(total=chosen.steps, initial=run.step, desc="supernet", unit="step", disable=not progress) as bar:
            while run.step < chosen.steps:
                losses = run.advance(train, valid)
                bar.set_postfix(train=f"{losses[0]:.3f}", valid=f"{losses[1]:.3f}", refresh=False)
                bar.update()
                if run.step % checkpoint_every == 0 or run.step == chosen.steps:
                    run.check_finite()
                    if path is not None:
                        run.save(path)
        return run.result()


def _make_folder(path: str | PathLike[str]) -> None:
    """That of a checkpoint; CgirError where there can be none, before anything is computed."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except (OSError, TypeError) as error:
        raise CgirError(f"one_shot.train: path={path!r}: {one_line(error, 100)}; give a file in a folder") from error
    if Path(path).is_dir():
        raise CgirError(f"one_shot.train: path={str(path)!r} is a folder; give a file")


def check_images(supernet: Supernet, images: Images) -> None:
    """CgirError unless the supernet reads such images and has their classes."""
    if not isinstance(supernet, Supernet):
        raise CgirError(f"one_shot: the supernet is a {type(supernet).__name__}; one_shot.supernet makes one")
    if not isinstance(images, Images):
        raise CgirError(f"one_shot: the images are a {type(images).__name__}; give one_shot.Images or load_images(...)")
    if images.shape != supernet.space.image:
        raise CgirError(
            f"{images.name}: images {images.shape}, the supernet reads {supernet.space.image}; "
            f"build it with image={images.shape}"
        )
    classes = getattr(supernet.space, "classes")  # noqa: B009  (of all spaces that have a supernet)
    if images.classes != classes:
        raise CgirError(
            f"{images.name}: {images.classes} classes, the supernet has {classes}; "
            f"build it with classes={images.classes}"
        )


def check_trained(trained: Trained, images: Images) -> None:
    """CgirError unless it is a supernet with its logits, which reads such images and has their classes."""
    if not isinstance(trained, Trained):
        raise CgirError(
            f"one_shot: what is selected from is a {type(trained).__name__}; "
            "give what train(...), Trained.load(...) or untrained(...) returns"
        )
    check_images(trained.supernet, images)
    if trained.logits.shape != (trained.supernet.num_weights,):
        raise CgirError(
            f"one_shot: logits of shape {tuple(trained.logits.shape)}; "
            f"the supernet has {trained.supernet.num_weights} weights of operations"
        )


class _Run:
    """Supernet, both optimisers, generator of batches, step counter and history."""

    def __init__(self, supernet: Supernet, settings: TrainSettings, device: torch.device) -> None:
        self.settings, self.device, self.step = settings, device, 0
        self.supernet = deepcopy(supernet).to(device).requires_grad_()
        self.data: dict[str, str] = {}
        self.history: list[dict[str, Any]] = []
        self.generator = torch.Generator().manual_seed(settings.seed)
        logits = 1e-3 * torch.randn(supernet.num_weights, generator=self.generator, dtype=torch.float32)
        self.weights = list(self.supernet.parameters())
        self.logits = logits.to(self.weights[0].detach()).requires_grad_()
        self.sgd = torch.optim.SGD(
            self.weights, settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
        )
        self.adam = torch.optim.Adam([self.logits], settings.alpha_lr, (0.5, 0.999), weight_decay=settings.alpha_decay)

    def advance(self, train: Images, valid: Images) -> tuple[float, float]:
        """One step of the architecture, then one of the weights; the losses of their batches before the steps."""
        settings = self.settings
        lr = settings.min_lr + (settings.lr - settings.min_lr) * (1 + cos(pi * self.step / settings.steps)) / 2
        self.sgd.param_groups[0]["lr"] = lr
        train_batch, valid_batch = self._draw(train), self._draw(valid)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=settings.autocast):
            upper = architecture_gradient(self.supernet, self.logits, valid_batch, self._unrolled(train_batch, lr))
        self._check("validation", upper)
        self._update(self.adam, [self.logits], upper)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=settings.autocast):
            lower = weight_gradient(self.supernet, self.logits, train_batch)
        self._check("training", lower)
        self._update(self.sgd, self.weights, lower, settings.clip)
        self.step += 1
        if self.step % max(1, settings.steps // RECORDS) == 0 or self.step == settings.steps:
            self._record(upper, lower, valid_batch)
        return lower.loss, upper.loss

    def _unrolled(self, batch: Batch, lr: float) -> Unrolled | None:
        if self.settings.order == 1:
            return None
        states = [self.sgd.state.get(weight, {}).get("momentum_buffer") for weight in self.weights]
        buffers = [buffer for buffer in states if buffer is not None]
        return Unrolled(batch, lr, self.settings.momentum, self.settings.weight_decay, buffers)

    def _draw(self, images: Images) -> Batch:
        pixels, labels = images.draw(self.settings.batch, self.generator)
        return pixels.to(self.logits.detach()), labels.to(self.device)

    def _check(self, which: str, result: LossGradient) -> None:
        if not isfinite(result.loss) or not all(bool(torch.isfinite(part).all()) for part in result.gradient):
            raise CgirError(
                f"one_shot.train: the {which} loss of step {self.step} or its gradient is not finite "
                f"(loss {result.loss}); lower lr={self.settings.lr} or alpha_lr={self.settings.alpha_lr}"
            )

    def check_finite(self) -> None:
        """CgirError if a step has made a weight or a logit that is no number, of which the next loss would tell."""
        if not all(bool(torch.isfinite(tensor).all()) for tensor in (*self.weights, self.logits)):
            raise CgirError(
                f"one_shot.train: after step {self.step} a weight is not finite; "
                f"lower lr={self.settings.lr} or alpha_lr={self.settings.alpha_lr}"
            )

    @staticmethod
    def _update(
        optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor], result: LossGradient, clip: float | None = None
    ) -> None:
        for parameter, gradient in zip(parameters, result.gradient, strict=True):
            parameter.grad = gradient
        if clip is not None:
            clip_grad_norm_(parameters, clip)
        optimizer.step()
        optimizer.zero_grad()

    def _record(self, upper: LossGradient, lower: LossGradient, valid_batch: Batch) -> None:
        accuracy = float((upper.answers.argmax(1) == valid_batch[1]).float().mean())
        mixture = self.supernet.mix(self.logits.detach()).tolist()
        record = {"train_loss": lower.loss, "valid_loss": upper.loss, "valid_accuracy": accuracy, "mixture": mixture}
        self.history.append({"step": self.step} | record)

    def result(self) -> Trained:
        """The supernet as it is now."""
        for weight in self.weights:
            weight.grad = None
        return Trained(self.supernet, self.logits.detach().clone(), self.history, asdict(self.settings))

    def save(self, path: str | PathLike[str]) -> None:
        """Write everything that the next step depends on."""
        tensors = {f"model.{name}": tensor for name, tensor in self.supernet.state_dict().items()}
        tensors |= {"logits": self.logits, "generator": self.generator.get_state()}
        for which, optimizer in (("sgd", self.sgd), ("adam", self.adam)):
            for index, state in optimizer.state_dict()["state"].items():
                tensors |= {f"{which}.{index}.{name}": value for name, value in state.items() if value is not None}
        write_tensors(path, KIND, tensors, self._meta() | {"step": self.step, "history": self.history})

    def load(self, path: str | PathLike[str]) -> None:
        """Restore a saved state of the same training."""
        tensors, meta = read_tensors(path, KIND)
        self._check_same(path, meta)
        states: dict[str, dict[int, dict[str, Tensor]]] = {"sgd": {}, "adam": {}}
        try:
            for name, tensor in tensors.items():
                if name.startswith(("sgd.", "adam.")):
                    which, index, key = name.split(".")
                    states[which].setdefault(int(index), {})[key] = tensor
            model = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
            self.supernet.load_state_dict(model)
            _check_shape("logits", tensors["logits"], self.logits)
            with torch.no_grad():
                self.logits.copy_(tensors["logits"])
            for which, optimizer in (("sgd", self.sgd), ("adam", self.adam)):
                self._check_complete(which, states[which])
                optimizer.load_state_dict({**optimizer.state_dict(), "state": states[which]})
            self.generator.set_state(tensors["generator"])
            self.step, self.history = _progress(meta, self.settings.steps)
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise FileFormatError(
                f"{path}: incomplete state of a training ({one_line(error, 200)}); remove it to start again"
            ) from error

    def _check_complete(self, which: str, states: dict[int, dict[str, Tensor]]) -> None:
        """KeyError if a state of an optimiser is missing, which PyTorch would start anew; ValueError if another."""
        names = ("exp_avg", "exp_avg_sq", "step") if which == "adam" else ("momentum_buffer",)
        if which == "sgd" and self.settings.momentum == 0:
            return
        for index, parameter in enumerate([self.logits] if which == "adam" else self.weights):
            for name in names:
                if name not in states.get(index, {}):
                    raise KeyError(f"{which}.{index}.{name}")
                like = torch.empty(()) if name == "step" else parameter
                _check_shape(f"{which}.{index}.{name}", states[index][name], like)

    def _meta(self) -> dict[str, Any]:
        config = self.supernet.config.items()
        supernet = {key: list(value) if isinstance(value, tuple) else value for key, value in config}
        return {"supernet": supernet, "settings": asdict(self.settings), "data": self.data}

    def _check_same(self, path: str | PathLike[str], meta: dict[str, Any]) -> None:
        for part in ("supernet", "settings", "data"):
            if not isinstance(meta.get(part, {}), dict):
                raise FileFormatError(f"{path}: its {part} are {meta[part]!r:.60}; remove it to start again")
        meta = meta | {"data": {"weights": self.data.get("weights")} | meta.get("data", {})}  # older files lack them
        for part, current in self._meta().items():
            if changes := changed_settings(meta.get(part, {}), current):
                raise CgirError(
                    f"{path}: belongs to another training ({part}: {changes[:300]}); use the same, or another path"
                )


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


def _fingerprint(tensors: Iterable[Tensor]) -> str:
    digest = blake2b(digest_size=16)
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()
