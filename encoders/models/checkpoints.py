"""Checkpoints: weights in one safetensors file, described as JSON in its header; no pickle, written atomically.

    __metadata__   cgir       JSON: kind of the file, version of the format, and what its reader needs
                   checksum   of that text and of all tensors, sorted by name: NAME, type and shape, then its bytes
    tensors        by name

Operators are stored by name, so weights stay valid when the operator table gains, loses or reorders rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from cgir.atomic_files import atomic_path
from cgir.checksums import KEY, checksum, damaged, note_missing
from cgir.errors import FileFormatError, one_line
from cgir.node_features import FEATURE_NAMES
from cgir.ops import INDEX
from cgir.strict_json import parse_object

from .checkpoint_keys import from_format_1
from .nn_former import SiblingConfig
from .registry import ARCHITECTURES, GraphEncoder, GraphEncoderConfig, architecture, build

VERSION = 3  # 1: other names; 2: predictors that averaged prior means
_KEY = "cgir"  # the header entry with our JSON
_OPS = "embedding.op.weight"

Tensors = dict[str, Tensor]
Config = TypeVar("Config")


def save_encoder(encoder: GraphEncoder, path: str | PathLike[str]) -> None:
    """Write an encoder's weights and configuration to one file."""
    write_tensors(path, "encoder", encoder.state_dict(), encoder_meta(encoder))


def load_encoder(path: str | PathLike[str]) -> GraphEncoder:
    """The encoder written by `save_encoder`; FileFormatError if the file is anything else."""
    tensors, meta = read_tensors(path, "encoder")
    return build_encoder(tensors, meta, path).eval()


def encoder_meta(encoder: GraphEncoder) -> dict[str, Any]:
    """What `build_encoder` needs besides the weights: architecture, configuration, operators and node features."""
    return {
        "architecture": architecture(encoder),
        "config": asdict(encoder.config),
        "ops": list(INDEX),
        "features": list(FEATURE_NAMES),
    }


def build_encoder(tensors: Tensors, meta: Mapping[str, Any], path: str | PathLike[str]) -> GraphEncoder:
    """An encoder from its weights and description.

    Operators that the file does not have start from its row of "Opaque", the unknown operator.

    Args:
        tensors: the encoder's state dict.
        meta: its description by `encoder_meta`.
        path: the file that they were read from, for error messages.

    Raises:
        FileFormatError: other node features, or weights and description that do not fit together.
    """
    try:
        if meta["features"] != list(FEATURE_NAMES):
            raise FileFormatError(
                f"{path}: made for node features {meta['features']}; "
                f"this version computes {list(FEATURE_NAMES)}: pretrain again"
            )
        rows = {name: row for row, name in enumerate(meta["ops"])}
        order = torch.tensor([rows.get(name, rows["Opaque"]) for name in INDEX])
        kind, _ = ARCHITECTURES[meta["architecture"]]
        config: GraphEncoderConfig = config_from(kind, meta["config"])
        check_claim(config.layers * config.width**2, tensors)
        if isinstance(config, SiblingConfig):
            check_claim(config.layers * config.width * config.feed_forward, tensors)
        encoder = build(config)
        load_weights(encoder, {**tensors, _OPS: tensors[_OPS].index_select(0, order)})
    except FileFormatError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
        raise FileFormatError(
            f"{path}: weights and description do not fit together ({one_line(error, 200)}); write the file again"
        ) from error
    return encoder


def config_from(kind: type[Config], values: Any) -> Config:
    """A configuration from its JSON: a dataclass whose defaults tell the types of its fields.

    Raises:
        TypeError: it has other fields, or a value is of another type.
        CgirError: a value is out of range.
    """
    if not isinstance(values, dict):
        raise TypeError(f"{kind.__name__}: found {values!r:.60}, expected an object")
    for field in fields(kind):  # type: ignore[arg-type]
        value, expected = values.get(field.name, field.default), type(field.default)
        if type(value) is not expected and not (expected is float and type(value) is int):
            raise TypeError(f"{kind.__name__}: {field.name} is {value!r:.60}, expected {expected.__name__}")
    return kind(**values)


def check_claim(least: int, tensors: Mapping[str, Tensor]) -> None:
    """ValueError if a network of at least so many weights cannot be that of these tensors: before it is built."""
    if least > (found := sum(tensor.numel() for tensor in tensors.values())):
        raise ValueError(f"describes a network of {least:.0e} weights or more, has {found:,}")


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a module all its weights; PyTorch alone would convert numbers of another type.

    Raises:
        ValueError: a tensor is of another type.
        RuntimeError: names or shapes differ.
    """
    for name, current in module.state_dict().items():
        if name in tensors and tensors[name].dtype != current.dtype:
            raise ValueError(f"{name} is {tensors[name].dtype}, expected {current.dtype}")
    module.load_state_dict(tensors)


def write_tensors(path: str | PathLike[str], kind: str, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write tensors and a JSON description; a reader sees the old file or the new one, never a part.

    Args:
        path: the file to write; missing folders are made.
        kind: of the file: "encoder", "predictor" or "pretraining".
        tensors: by name.
        meta: JSON values that a reader needs besides the tensors.
    """
    card = json.dumps({"kind": kind, "version": VERSION, **meta}, sort_keys=True)
    own = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    pieces = _ordered(save(own, {_KEY: card, KEY: checksum(covered(card, own))}))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.writelines(pieces)


def _ordered(data: bytes) -> tuple[bytes | memoryview, ...]:
    """A safetensors file with the entries of its header in order, which the library's own is not; in pieces."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors are aligned
    return len(text).to_bytes(8, "little"), text, memoryview(data)[end:]


def covered(card: str, tensors: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    """What the checksum of a file covers: its description, and its tensors."""
    yield card.encode()
    for name in sorted(tensors):
        tensor = tensors[name]
        yield f"\0{name}\0{tensor.dtype}{list(tensor.shape)}\0".encode()
        if tensor.numel():  # one without elements may have strides that PyTorch does not view as bytes
            yield tensor.reshape(-1).view(torch.uint8).numpy().data


def read_tensors(path: str | PathLike[str], kind: str) -> tuple[Tensors, dict[str, Any]]:
    """Read what `write_tensors` wrote; tensors of format 1 get their names of format 2.

    Raises:
        FileFormatError: the file is missing, damaged, foreign, newer or of another kind.
    """
    if not Path(path).is_file():
        raise FileFormatError(f"{path}: no such file; expected a cgir {kind}")
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, str] = file.metadata() or {}
            card = header.get(_KEY)
            # only files with our header are read: a foreign one may be huge
            tensors = {name: file.get_tensor(name) for name in file.keys()} if card else {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError, RuntimeError) as error:
        raise FileFormatError(f"{path}: damaged or not a cgir {kind} ({one_line(error, 200)})") from error
    if not card:
        raise FileFormatError(f"{path}: expected a cgir {kind}, found a file of another program")
    if (KEY in header and header[KEY] != checksum(covered(card, tensors))) or len(header) > 1 + (KEY in header):
        raise damaged(path)
    meta = parse_object(path, card, f"damaged or not a cgir {kind}: its description is no JSON object")
    if meta.get("kind") != kind:
        raise FileFormatError(f"{path}: expected a cgir {kind}, found {meta.get('kind')!s:.60}")
    version = meta.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        raise FileFormatError(
            f"{path}: format version {version!r:.60}, this cgir reads 1 to {VERSION}; "
            "update cgir or write the file again"
        )
    if KEY not in header:
        note_missing(path, "load it and save it again")
    return from_format_1(tensors, kind) if version == 1 else tensors, meta
