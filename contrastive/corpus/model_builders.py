"""How models of timm, torchvision and transformers are built for the corpus: without weights, on the meta device, at
two sizes.

Each of `LIBRARIES` has the names of a library's models and, for a name, its variants: a title and a call that returns a
module and its inputs.
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
FACTORS = (0.5, 0.67, 0.75, 1.25, 1.5)  # of a model's own image size
TOKENS = (16, 64, 128, 256)
DEPTHS, SHRUNK = (
    (
        "num_hidden_layers",
        "num_layers",
        "n_layer",
        "n_layers",
        "encoder_layers",
        "decoder_layers",
        "num_decoder_layers",
        "depth",
    ),
    (2, 3, 4, 6),
)

Variant = tuple[str, Callable[[], Graph]]


class Library(NamedTuple):
    """The names of a library's models, the variants of a model by its name, and the share of the models that is in the
    whole corpus.
    """

    names: Callable[[], list[str]]
    variants: Callable[[str, np.random.Generator], Iterator[Variant]]
    share: float = 1.0


def _timm_names() -> list[str]:
    declare()
    import timm

    return list(timm.list_models())


def _timm(name: str, rng: np.random.Generator) -> Iterator[Variant]:
    """At the model's own size and another, for which models that insist on one are built anew."""
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
    """All but the quantised ones, which are the same networks, and the ones for optical flow, which read pairs."""
    declare()
    from torchvision import models

    skipped = {name for kind in (models.quantization, models.optical_flow) for name in models.list_models(module=kind)}
    return [name for name in models.list_models() if name not in skipped]


def _torchvision(name: str, rng: np.random.Generator) -> Iterator[Variant]:
    """Classifiers, segmentation and video at two sizes; of detectors the backbone, as what follows depends on values."""
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
    """The default configuration with few layers, on texts of some length and on images of the model's size."""
    depth, tokens = int(rng.choice(SHRUNK)), int(rng.choice(TOKENS))
    yield f"{name} layers={depth} tokens={tokens}", partial(_transformer, name, depth, tokens)


def _transformer(name: str, depth: int, tokens: int) -> Graph:
    from transformers import AutoConfig, AutoModel

    config = _shrunk(AutoConfig.for_model(name), depth)
    model: Any = on_meta(partial(AutoModel.from_config, config))
    # mixtures of experts as grouped products where the model can; loops over experts depend on values
    with suppress(Exception):
        model.set_experts_implementation("grouped_mm")
    return frontends.trace(model, _inputs(model, config, tokens), name=name)


def _shrunk(config: Any, depth: int) -> Any:
    """The configuration, and those inside it, with at most `depth` layers, unless something is said for every layer."""
    for value in list(vars(config).values()):
        if hasattr(value, "to_dict"):
            _shrunk(value, depth)
    listed = any(isinstance(value, list | tuple) and len(value) > 2 for value in vars(config).values())
    for field in () if listed else DEPTHS:
        if isinstance(getattr(config, field, None), int):
            setattr(config, field, min(depth, getattr(config, field)))
    return config


def _inputs(model: Any, config: Any, tokens: int) -> dict[str, Tensor]:
    """Texts and images by the names of the forward's arguments, and a mask of ones, without which texts are searched
    for padding.
    """
    known = inspect.signature(model.forward).parameters
    main = model.main_input_name if isinstance(model.main_input_name, str) else model.main_input_name[0]
    inputs: dict[str, Tensor] = {}
    for argument in ("input_ids", "decoder_input_ids"):
        if argument in known:
            inputs[argument] = torch.zeros(1, tokens, dtype=torch.long, device=META)
    if "pixel_values" in known and (main == "pixel_values" or "get_image_features" in dir(model)):
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
    """A model in evaluation mode without weights; some compute with numbers while they are built, those are built with
    weights.
    """
    try:
        with META:
            model: nn.Module = make()
    except RuntimeError:
        model = make()
    return model.eval()


def _other(own: int, step: int, rng: np.random.Generator) -> int:
    """Another image size, a multiple of `step`; the same where the model's own is that small."""
    return max(step, round(own * float(rng.choice(FACTORS)) / step) * step)


def _resized(model: nn.Module, make: Callable[[], Any], shape: tuple[int, ...], name: str) -> Graph:
    """A model at another size, built for that size if it must be."""
    try:
        return frontends.trace(model, input_shape=shape, name=name)
    except TraceError:
        return frontends.trace(on_meta(make), input_shape=shape, name=name)


LIBRARIES = {
    "timm": Library(_timm_names, _timm),
    "torchvision": Library(_torchvision_names, _torchvision),
    # a second each, and many are one network under several names
    "transformers": Library(_transformers_names, _transformers, share=0.3),
}
