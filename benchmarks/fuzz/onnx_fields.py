"""Hostile ONNX files: small models with changed bytes, or with changed fields of their protobuf messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import onnx
from numpy.random import Generator

import frontends

from .mutation import mutate_bytes
from .onnx_seeds import seed_models
from .target import Target

NUMBERS = (
    0, 1, 2, 3, 5, 7, 8, 11, 16, 17, 21, 100, -1, -2, -5, 1000, 10**6, 2**31 - 1, 2**31, -(2**31), 2**40, 2**62,
    2**63 - 1, -(2**63)
)  # fmt: skip
FLOATS = (0.0, 1.0, -1.0, 0.5, 1e-45, 1e38, float("inf"), float("-inf"), float("nan"))
TEXTS = (
    "", "x", "y", "a\nb", "\x1b[2J", "A" * 20_000, "ai.onnx", "com.microsoft", "local", "ai.onnx.ml", "Relu", "Split",
    "Reshape", "Loop", "If", "Constant", "Einsum", "body", "axis", "perm", "value", "../../x", "/dev/zero", "-5",
)  # fmt: skip
BYTES = (b"", b"\xff\xfe", b"\x00" * 8, b"abc", b"\xff" * 7, b"\x00" * 4096, b"ij,jk->ik", b"SAME_UPPER", b"cubic")


class Seeds(NamedTuple):
    """The valid models, their bytes, and the contents of the file beside one of them."""

    models: list[onnx.ModelProto]
    data: list[bytes]
    beside: bytes


def change_fields(rng: Generator, model: onnx.ModelProto, others: list[onnx.ModelProto], most: int = 4) -> bytes:
    """The bytes of a model with some fields changed, removed, repeated, or taken from another message of their type.

    Args:
        rng: random numbers.
        model: a valid model, which is not changed.
        others: models that messages are taken from.
        most: changes at most.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for _ in range(int(rng.integers(1, most + 1))):
        messages = _messages(copy)
        message = messages[int(rng.integers(len(messages)))]
        _change(rng, message, others[int(rng.integers(len(others)))])
    data: bytes = copy.SerializeToString()
    for target in (b"Relu", b"x", b"y"):
        if rng.random() < 0.02:  # names that are no UTF-8, which cannot be assigned
            data = data.replace(target, b"\xff" * len(target))
    return data


def _messages(root: Any) -> list[Any]:
    """A message and all messages in it."""
    found: list[Any] = []
    queue = [root]
    while queue:
        message = queue.pop()
        found.append(message)
        for field, value in message.ListFields():
            if field.message_type is not None:
                queue += list(value) if field.is_repeated else [value]
    return found


def _change(rng: Generator, message: Any, other: onnx.ModelProto) -> None:
    present = [field for field, _ in message.ListFields()]
    fields = present if present and rng.random() < 0.8 else list(message.DESCRIPTOR.fields)
    field = fields[int(rng.integers(len(fields)))]
    if rng.random() < 0.1:
        message.ClearField(field.name)
    elif field.is_repeated:
        _change_repeated(rng, getattr(message, field.name), field, other)
    elif field.message_type is not None:
        _replace(rng, getattr(message, field.name), other)
    else:
        setattr(message, field.name, _scalar(rng, field, getattr(message, field.name)))


def _change_repeated(rng: Generator, values: Any, field: Any, other: onnx.ModelProto) -> None:
    """Change, remove, repeat, swap or append elements of a repeated field."""
    kind, is_message = rng.random(), field.message_type is not None
    at = int(rng.integers(len(values))) if len(values) else 0
    if not len(values) or kind < 0.25:
        if is_message:
            _replace(rng, values.add(), other)
        else:
            values.append(_scalar(rng, field, values[at] if len(values) else None))
    elif kind < 0.5:
        del values[at]
    elif kind < 0.7 and is_message:
        values.add().CopyFrom(values[at])
    elif kind < 0.85 and is_message:
        _replace(rng, values[at], other)
    elif is_message:
        values.reverse()
    else:
        values[at] = _scalar(rng, field, values[at])


def _replace(rng: Generator, message: Any, other: onnx.ModelProto) -> None:
    """Let a message be another one of its type, if there is one; of the enclosing graph, for instance."""
    same = [found for found in _messages(other) if found.DESCRIPTOR is message.DESCRIPTOR and found is not message]
    if same:
        chosen = type(message)()
        chosen.CopyFrom(same[int(rng.integers(len(same)))])
        message.CopyFrom(chosen)


def _scalar(rng: Generator, field: Any, value: Any) -> Any:
    """A value of a scalar field: near the one that is there, or one at which readers fail."""
    kind = field.cpp_type
    if kind in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return FLOATS[int(rng.integers(len(FLOATS)))]
    if kind == field.CPPTYPE_ENUM:
        numbers = [entry.number for entry in field.enum_type.values]
        return numbers[int(rng.integers(len(numbers)))]
    if kind == field.CPPTYPE_STRING:
        options: tuple[Any, ...] = BYTES if field.type == field.TYPE_BYTES else TEXTS
        return options[int(rng.integers(len(options)))]
    if isinstance(value, int) and rng.random() < 0.4:
        number = value + int(rng.integers(-2, 3))
    else:
        number = NUMBERS[int(rng.integers(len(NUMBERS)))]
    low, high = (-(2**31), 2**31) if kind == field.CPPTYPE_INT32 else (-(2**63), 2**63)
    low, high = (0, 2**64) if kind == field.CPPTYPE_UINT64 else (low, high)
    return min(max(number, low), high - 1)


def _prepare(folder: Path) -> Seeds:
    models = list(seed_models().values())
    return Seeds(models, [model.SerializeToString() for model in models], b"\x00" * 1280)


def _write(rng: Generator, seeds: Seeds, folder: Path) -> bytes | Path:
    index = int(rng.integers(len(seeds.models)))
    if rng.random() < 0.5:
        data = mutate_bytes(rng, seeds.data[index])
    else:
        data = change_fields(rng, seeds.models[index], seeds.models)
    if index < len(seeds.models) - 1 and rng.random() < 0.8:
        return data
    path = folder / "model.onnx"
    path.write_bytes(data)
    (folder / "weights.bin").write_bytes(seeds.beside if rng.random() < 0.8 else seeds.beside[:100])
    return path


def _read(model: Any) -> object:
    return frontends.trace(model)


TARGET = Target("ONNX, bytes and fields", _prepare, _write, _read)
