"""Hostile `.pt2` archives of torch.export: their JSON, the operators that they name, their constants, their bytes."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from numpy.random import Generator
from torch import Tensor, nn

import frontends
import frontends.torch.exported_program  # processes that read inputs are forked after PyTorch is loaded

from .mutation import NUMBERS, mutate_bytes, mutate_json, random_value
from .resealing import zipped
from .target import Target

OTHER_TARGETS = (
    "torch.ops.aten.nowhere.default", "torch.ops.aten.add", "torch.ops.aten.from_file.default", "torch.ops.prim.print",
    "torch.ops.higher_order.cond", "torch.ops.higher_order.while_loop", "torch.ops.higher_order.scan", "_operator.pow",
    "_operator.lshift", "math.factorial", "math.prod", "torch.sym_max", "torch.sym_not", "torch.sym_", "os.system",
    "torch.load", "builtins.eval", "", ".", "torch.ops", "torch.ops.aten.__class__.mro", "torch.ops.load_library",
)  # fmt: skip
NAMES = ("x", "../../x", "a/b", "a\nb", "models/model.json", "é", "A" * 300)


class Seeds(NamedTuple):
    """Members of archives, and the names of PyTorch's operators."""

    archives: list[dict[str, bytes]]
    operators: list[str]


def prepare(folder: Path) -> Seeds:
    """Small programs with layers, buffers, constants, branches, loops and open sizes."""
    archives = []
    for module, inputs, dims in _programs():
        program = torch.export.export(module.eval(), inputs, dynamic_shapes=dims)
        torch.export.save(program, folder / "model.pt2")
        with zipfile.ZipFile(folder / "model.pt2") as archive:
            archives.append({name: archive.read(name) for name in archive.namelist()})
    operators = {schema.name.partition("::")[2]: schema for schema in torch._C._jit_get_all_schemas()}
    names = (f"{name}.{schema.overload_name or 'default'}" for name, schema in operators.items())
    return Seeds(archives, sorted(f"torch.ops.aten.{name}" for name in names))


def _programs() -> Iterator[tuple[nn.Module, tuple[Tensor, ...], Any]]:
    class Program(nn.Module):
        def __init__(self, body: Any) -> None:
            super().__init__()
            self.body, self.layer = body, nn.Linear(4, 4)
            self.register_buffer("scale", torch.ones(4))
            self.table = torch.arange(4)

        def forward(self, x: Tensor) -> Any:
            return self.body(self, x)

    def branched(module: Any, x: Tensor) -> Any:
        return torch.cond(x.sum() > 0, lambda y: module.layer(y).relu(), lambda y: y * 2, (x,))

    def indexed(module: Any, x: Tensor) -> Any:
        a, b = module.layer(x * module.scale)[:, module.table].split(2, -1)
        return torch.cat([a.softmax(-1), b.reshape(x.shape[0], -1)], 1), x.shape[0]

    def summed(module: Any, x: Tensor) -> Any:
        return torch.einsum("bi,ij->bj", x, module.layer.weight).sum((0, 1)).to(torch.float16)

    batch = ({0: torch.export.Dim("batch", min=2, max=99)},)
    convolution = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    yield convolution, (torch.ones(2, 3, 6, 6),), batch
    yield nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), (torch.ones(2, 3, 4),), None
    yield Program(branched), (torch.ones(2, 4),), None
    yield Program(indexed), (torch.ones(3, 4),), {"x": batch[0]}
    yield Program(summed), (torch.ones(2, 4),), None


def write_file(rng: Generator, seeds: Seeds, folder: Path) -> Path:
    """An archive with changes in its JSON, its operators, its members or its bytes."""
    members = dict(seeds.archives[int(rng.integers(len(seeds.archives)))])
    kind = rng.random()
    if kind < 0.75:
        name = next(name for name in members if "/models/" in name)
        if kind < 0.15:  # also the configurations of weights and constants, and versions
            others = [name for name in members if name.endswith(".json")]
            name = others[int(rng.integers(len(others)))]
        value = json.loads(members[name])
        if kind < 0.3:
            value = mutate_json(rng, value)
        else:
            _change_calls(rng, seeds, value["graph_module"]["graph"])
        members[name] = json.dumps(value).encode(errors="replace")
    elif kind < 0.85:
        members = _other_members(rng, members)
    data = bytearray(zipped(members, int(rng.choice([0, 0, 0, 0, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA]))))
    if kind >= 0.9:
        data = bytearray(mutate_bytes(rng, bytes(data)))
    elif kind >= 0.85:  # sizes and flags in the directory at the end, which are believed first
        at = data.find(b"PK\x01\x02", int(rng.integers(len(data))))
        if at >= 0:
            field = at + int(rng.choice([8, 10, 20, 24, 42]))
            data[field : field + 4] = int(rng.choice([0, 1, 10**9, 2**32 - 1])).to_bytes(4, "little")
    (folder / "model.pt2").write_bytes(data)
    return folder / "model.pt2"


def _change_calls(rng: Generator, seeds: Seeds, graph: dict[str, Any]) -> None:
    """Other operators, arguments, sizes and types."""
    for _ in range(int(rng.integers(1, 4))):
        node = graph["nodes"][int(rng.integers(len(graph["nodes"])))]
        pick = rng.random()
        if pick < 0.2:
            names = seeds.operators if rng.random() < 0.8 else OTHER_TARGETS
            node["target"] = names[int(rng.integers(len(names)))]
        elif pick < 0.6 and node["inputs"]:
            argument = node["inputs"][int(rng.integers(len(node["inputs"])))]
            argument["arg"] = _argument(rng, graph) if rng.random() < 0.7 else mutate_json(rng, argument["arg"], 1)
        elif pick < 0.65:
            node["inputs"].append({"name": "dim", "arg": _argument(rng, graph), "kind": int(rng.integers(3))})
        elif pick < 0.75:
            graph["nodes"].insert(int(rng.integers(len(graph["nodes"]))), node)
        else:
            metas = list(graph["tensor_values"].values())
            meta = metas[int(rng.integers(len(metas)))]
            if meta["sizes"] and rng.random() < 0.7:
                meta["sizes"][int(rng.integers(len(meta["sizes"])))] = {"as_int": int(rng.choice(NUMBERS[:-1]))}
            else:
                meta["dtype"] = int(rng.integers(40))


def _argument(rng: Generator, graph: dict[str, Any]) -> dict[str, Any]:
    """An argument of a random kind."""
    tensors = list(graph["tensor_values"])
    tensor = {"name": tensors[int(rng.integers(len(tensors)))]}
    number = int(rng.choice(NUMBERS[:-1])) if rng.random() < 0.5 else int(rng.integers(-3, 4))
    kinds: tuple[dict[str, Any], ...] = (
        {"as_tensor": tensor}, {"as_int": number}, {"as_ints": [number] * int(rng.integers(5))}, {"as_float": "NaN"},
        {"as_float": 0.5}, {"as_bool": True}, {"as_none": True}, {"as_string": "ij,jk->ik"}, {"as_tensors": [tensor]},
        {"as_scalar_type": int(rng.integers(40))}, {"as_optional_tensors": [{"as_tensor": tensor}, {"as_none": True}]},
        {"as_memory_format": int(rng.integers(6))}, {"as_sym_int": {"as_int": number}},
        {"as_complex": {"real": 1.0, "imag": 2.0}},
    )  # fmt: skip
    return kinds[int(rng.integers(len(kinds)))]


def _other_members(rng: Generator, members: dict[str, bytes]) -> dict[str, bytes]:
    """Members that are missing, renamed, cut off or of other contents."""
    changed = {}
    for name, data in members.items():
        pick = rng.random()
        if pick < 0.1:
            continue
        if pick < 0.2:
            name = f"{name.rpartition('/')[0]}/{NAMES[int(rng.integers(len(NAMES)))]}"
        elif pick < 0.3:
            data = data[: int(rng.integers(len(data) + 1))]
        elif pick < 0.35:
            data = json.dumps(random_value(rng)).encode()
        changed[name] = data
    return changed


TARGET = Target(".pt2: JSON, operators, members, bytes", prepare, write_file, frontends.trace)
