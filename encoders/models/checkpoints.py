"""Checkpoints: weights in one safetensors file, described as JSON in its header; no pickle, written atomically.

Operators are stored by name, so weights stay valid when the operator table gains, loses or reorders rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from cgir.atomic_files import atomic_path
from cgir.errors import CgirError, FileFormatError, one_line
from cgir.node_features import FEATURE_NAMES
from cgir.ops import INDEX

from .checkpoint_keys import from_format_1
from .registry import ARCHITECTURES, GraphEncoder, architecture, build

VERSION = 2
_KEY = "cgir"  # the header entry with our JSON
_OPS = "embedding.op.weight"

Tensors = dict[str, Tensor]


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
        config, _ = ARCHITECTURES[meta["architecture"]]
        encoder = build(config(**meta["config"]))
        encoder.load_state_dict({**tensors, _OPS: tensors[_OPS].index_select(0, order)})
    except FileFormatError:
        raise
    except (KeyError, TypeError, IndexError, RuntimeError, CgirError) as error:
        raise FileFormatError(
            f"{path}: weights and description do not fit together ({one_line(error, 200)}); write the file again"
        ) from error
    return encoder


def write_tensors(path: str | PathLike[str], kind: str, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write tensors and a JSON description; a reader sees the old file or the new one, never a part.

    Args:
        path: the file to write; missing folders are made.
        kind: of the file: "encoder", "predictor" or "pretraining".
        tensors: by name.
        meta: JSON values that a reader needs besides the tensors.
    """
    header = {_KEY: json.dumps({"kind": kind, "version": VERSION, **meta}, sort_keys=True)}
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, header)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} in its description, where numbers are finite")


def read_tensors(path: str | PathLike[str], kind: str) -> tuple[Tensors, dict[str, Any]]:
    """Read what `write_tensors` wrote; tensors of format 1 get their names of format 2.

    Raises:
        FileFormatError: the file is missing, damaged, foreign, newer or of another kind.
    """
    if not Path(path).is_file():
        raise FileFormatError(f"{path}: no such file; expected a cgir {kind}")
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(_KEY)
            # only files with our header are read: a foreign one may be huge
            names = file.keys() if header else []
            tensors = {name: file.get_tensor(name) for name in names}
        meta = json.loads(header, parse_constant=_no_number) if header else {}
        if not isinstance(meta, dict):
            raise TypeError(f"its description is {type(meta).__name__}, not an object")
    except (SafetensorError, OSError, ValueError, TypeError, RecursionError) as error:
        raise FileFormatError(f"{path}: damaged or not a cgir {kind} ({one_line(error, 200)})") from error
    if meta.get("kind") != kind:
        raise FileFormatError(f"{path}: expected a cgir {kind}, found {meta.get('kind', 'a file of another program')}")
    version = meta.get("version")
    if version not in (1, VERSION):
        raise FileFormatError(
            f"{path}: format version {version}, this cgir reads 1 to {VERSION}; update cgir or write the file again"
        )
    return from_format_1(tensors, kind) if version == 1 else tensors, meta
