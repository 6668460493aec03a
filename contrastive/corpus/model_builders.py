"""Builds models of timm, torchvision and transformers for the corpus, on the meta device and at two sizes.

Each of `LIBRARIES` lists the names of a library's models and gives, for a name, its variants: pairs of a title and a
function that traces the model.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

import frontends
from cgir.errors import TraceError
from cgir.graph import Graph
from frontends.torch.torchvision_ops import declare

META = torch.device("meta")
IMAGE_SCALES = (0.5, 0.67, 0.75, 1.25, 1.5)  # of a model's own image size
TOKENS = (16, 64, 128, 256)
DEPTHS = (2, 3, 4, 6)
DEPTH_FIELDS = (  # of configurations of transformers
    "num_hidden_layers",
    "num_layers",
    "n_layer",
    "n_layers",
    "encoder_layers",
    "decoder_layers",
    "num_decoder_layers",
    "depth",
)

Variant = tuple[str, Callable[[], Graph]]


class Library(NamedTuple):
    """A library of models.

    names: lists them.
    variants: titles and tracing functions of a model, by its name.
    fraction: of the models that are in the whole corpus.
    """

    names: Callable[[], list[str]]
    variants: Callable[[str, np.random.Generator], Iterator[Variant]]
    fraction: float = 1.0


def _timm_names() -> list[str]:
    declare()
    import timm

    return list(timm.list_models())


def _timm(name: str, rng: np.random.Generator) -> Iterator[Variant]:
    """A model at its own image size and at another, rebuilt for the other size where the size is fixed."""
    import timm

    model: Any = on_meta(partial(timm.create_model, name))
    own = tuple(model.pretrained_cfg["input_size"])
    yield f"{name}@{own[-1]}", partial(frontends.trace, model, input_shape=(1, *own), name=name)
    size = _other(own[-1], 28 if "patch14" in name else 32, rng)
    if size != own[-1]:
        yield (
            f"{name}@{size}",
            partial(_resized, model, partial(timm.create_model, name, img_size=size), (1, own[0], size, size), name),
        )


def _torchvision_names() -> list[str]:
    """All but quantised models, which are the same networks, and models of optical flow, which read pairs of images."""
    declare()
    from torchvision import models

    skipped = {name for kind in (models.quantization, models.optical_flow) for name in models.list_models(module=kind)}
    return [name for name in models.list_models() if name not in skipped]


def _torchvision(name: str, rng: np.random.Generator) -> Iterator[Variant]:
    """Classifiers, segmentation and video models at two sizes; only the backbone of detectors.

    The rest of a detector has control flow that depends on values.
    """
    from torchvision import models

    kinds = {
        kind: name in models.list_models(module=getattr(models, kind))
        for kind in ("detection", "segmentation", "video")
    }
    options: dict[str, Any] = {"weights_backbone": None} if kinds["detection"] or kinds["segmentation"] else {}
    if name in ("googlenet", "inception_v3"):
        options = {"init_weights": False}
    make = partial(models.get_model, name, weights=None, **options)
    model = on_meta(make)
    model = model.get_submodule("backbone") if kinds["detection"] else model
    own = 320 if kinds["detection"] else 520 if kinds["segmentation"] else 299 if "inception" in name else 224
    own, frames = (224 if name.startswith(("mvit", "s3d")) else 112, (16,)) if kinds["video"] else (own, ())
    yield f"{name}@{own}", partial(frontends.trace, model, input_shape=(1, 3, *frames, own, own), name=name)
    size = _other(own, 32, rng)
    if size != own:
        yield (
            f"{name}@{size}",
            partial(_resized, model, partial(make, image_size=size), (1, 3, *frames, size, size), name),
        )


def _transformers_names() -> list[str]:
    declare()
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    return list(MODEL_MAPPING_NAMES)


def _transformers(name: str, rng: np.random.Generator) -> Iterator[Variant]:
    """The default configuration with few layers, for texts of a random length and images of the model's size."""
    depth, tokens = int(rng.choice(DEPTHS)), int(rng.choice(TOKENS))
    yield f"{name} layers={depth} tokens={tokens}", partial(_transformer, name, depth, tokens)


def _transformer(name: str, depth: int, tokens: int) -> Graph:
    from transformers import AutoConfig, AutoModel

    config = _shrunk(AutoConfig.for_model(name), depth)
    model: Any = on_meta(partial(AutoModel.from_config, config))
    # mixtures of experts as grouped matrix products where supported; loops over experts depend on values
    with suppress(Exception):
        model.set_experts_implementation("grouped_mm")
    return frontends.trace(model, _inputs(model, config, tokens), name=name)


def _shrunk(config: Any, depth: int) -> Any:
    """Limit a configuration, and those nested in it, to `depth` layers, unless a list has a value for each layer."""
    for value in list(vars(config).values()):
        if hasattr(value, "to_dict"):
            _shrunk(value, depth)
    has_lists = any(isinstance(value, list | tuple) and len(value) > 2 for value in vars(config).values())
    for field in () if has_lists else DEPTH_FIELDS:
        if isinstance(getattr(config, field, None), int):
            setattr(config, field, min(depth, getattr(config, field)))
    return config


def _inputs(model: Any, config: Any, tokens: int) -> dict[str, Tensor]:
    """Inputs of the model's `forward` by name: token ids, images, audio or spectrograms, on the meta device."""
    parameters = inspect.signature(model.forward).parameters
    main = model.main_input_name if isinstance(model.main_input_name, str) else model.main_input_name[0]
    inputs: dict[str, Tensor] = {}
    for argument in ("input_ids", "decoder_input_ids"):
        if argument in parameters:
            inputs[argument] = torch.zeros(1, tokens, dtype=torch.long, device=META)
    if "pixel_values" in parameters and (main == "pixel_values" or "get_image_features" in dir(model)):
        vision = getattr(config, "vision_config", config)
        size = getattr(vision, "image_size", 224)
        height, width = (size, size) if isinstance(size, int) else tuple(size)[:2]
        inputs["pixel_values"] = torch.empty(1, getattr(vision, "num_channels", 3), height, width, device=META)
    if main == "input_values":
        inputs[main] = torch.empty(1, 16_000, device=META)
    if main == "input_features":
        inputs[main] = torch.empty(1, getattr(config, "num_mel_bins", 80), 3000, device=META)
    return inputs


def on_meta(make: Callable[[], Any]) -> nn.Module:
    """A model in evaluation mode, on the meta device unless its constructor needs the values of tensors."""
    try:
        with META:
            model: nn.Module = make()
    except RuntimeError:
        model = make()
    return model.eval()


def _other(own: int, step: int, rng: np.random.Generator) -> int:
    """Another image size, a multiple of `step`; it may be the same where the model's own is small."""
    return max(step, round(own * float(rng.choice(IMAGE_SCALES)) / step) * step)


def _resized(model: nn.Module, make: Callable[[], Any], shape: tuple[int, ...], name: str) -> Graph:
    """Trace a model at another image size, rebuilt for that size where the size is fixed."""
    try:
        return frontends.trace(model, input_shape=shape, name=name)
    except TraceError:
        return frontends.trace(on_meta(make), input_shape=shape, name=name)


LIBRARIES = {
    "timm": Library(_timm_names, _timm),
    "torchvision": Library(_torchvision_names, _torchvision),
    # each takes a second, and many are the same network under several names
    "transformers": Library(_transformers_names, _transformers, fraction=0.3),
}
