"""Which node a tensor holds while a module is traced.

Tensors made before the trace (weights, buffers, constants) are never written to: next to a traced tensor they are
replaced by a meta twin, in computations of their own by a copy. So the module stays as it was, whatever its forward
does in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from cgir import Param, TraceError
from cgir.graph import Shape
from frontends.common.axis_layout import NO_LAYOUT, AxisLayout, reshape_layout, stored_shape
from frontends.common.tape import Tape

from .aliasing import Write, geometry, relation

ATOMS = frozenset((int, float, str, bool, type(None), torch.Size, torch.dtype, torch.device))


@dataclass(slots=True)
class Value:
    """What a tensor holds: the node that computed it, its axes, and how many writes to its storage that includes.

    `tensor` keeps it alive, so that no other tensor gets its identity; `static` values depend on no graph input.
    """

    tensor: Tensor
    node: int
    layout: AxisLayout
    static: bool
    storage: int
    version: int


class Values:
    """Tensors of the trace and what they hold; `params` and `known` are the identities of the module's own tensors."""

    def __init__(self, tape: Tape, params: Mapping[int, str], known: set[int]) -> None:
        self.tape, self.params, self.known = tape, params, known
        self.used: set[str] = set()
        self._values: dict[int, Value] = {}
        self._twins: dict[int, tuple[Tensor, Tensor]] = {}  # identity of a tensor made before -> itself, its meta twin
        self._originals: dict[int, Tensor] = {}  # identity of a twin -> the tensor it stands for
        self._twin_storages: dict[int, torch.UntypedStorage] = {}
        self._real_storages: dict[int, int] = {}  # storage of a twin -> storage of the real tensor
        self._promoted: set[int] = set()  # real storages that received traced values: they are traced from then on
        self._copies: dict[int, tuple[Tensor, Tensor]] = {}
        self._made: dict[int, Tensor] = {}  # storages of constants made during the trace
        self._writes: dict[int, list[Write]] = {}

    def is_live(self, tensor: Tensor) -> bool:
        """Whether calls on this tensor are traced; those on constants alone run for real."""
        return (
            tensor.is_meta
            or isinstance(tensor, torch.nn.Parameter)
            or (bool(self._promoted) and storage_of(tensor) in self._promoted)
        )

    def known_here(self, tensor: Tensor) -> Value | None:
        """The value of a tensor that was traced already."""
        return self._values.get(id(tensor))

    def traced(self, tensor: Tensor) -> Tensor:
        """The meta tensor that stands for `tensor` in the trace."""
        if id(tensor) in self._values or id(tensor) in self._originals:
            return tensor
        if id(tensor) in self._twins:
            return self._twins[id(tensor)][1]
        if tensor.is_meta and not isinstance(tensor, torch.nn.Parameter) and id(tensor) not in self.known:
            return self._found_again(tensor)
        storage = tensor.untyped_storage()
        if storage._cdata not in self._twin_storages:
            twin_storage = torch.UntypedStorage(storage.nbytes(), device="meta")
            self._twin_storages[storage._cdata] = twin_storage
            self._real_storages[twin_storage._cdata] = storage._cdata
        empty = torch.empty(0, dtype=tensor.dtype, device="meta")
        twin = empty.set_(self._twin_storages[storage._cdata], tensor.storage_offset(), tensor.shape, tensor.stride())
        self._twins[id(tensor)] = (tensor, twin)
        self._originals[id(twin)] = tensor
        return twin

    def _found_again(self, tensor: Tensor) -> Tensor:
        """A traced tensor under a new identity, as autograd functions return what they were given."""
        place = geometry(tensor)
        for value in reversed(self._values.values()):
            if value.storage == storage_of(tensor) and geometry(value.tensor) == place:
                return value.tensor
        raise TraceError(
            "a tensor comes from code that the recorder cannot see (TorchScript, a C++ extension, or a tensor on the meta device made outside the module); "
            "trace the Python version of that code"
        )

    def copy(self, tensor: Tensor) -> Tensor:
        """What calls on constants work on: the tensor if the trace made it, else a copy."""
        if storage_of(tensor) in self._made or id(tensor) in self._values:
            return tensor
        if id(tensor) not in self._copies:
            copy = tensor.detach().clone()
            self._copies[id(tensor)] = (tensor, copy)
            self._made[storage_of(copy)] = copy
        return self._copies[id(tensor)][1]

    def made(self, tensor: Tensor) -> None:
        """Remember a constant that the trace made, so that it may be written to."""
        self._made.setdefault(storage_of(tensor), tensor)

    def param(self, tensor: Tensor) -> Param | None:
        """The parameter that a traced tensor is, unless it was written to."""
        original = self._originals.get(id(tensor))
        if not isinstance(original, torch.nn.Parameter) or storage_of(tensor) in self._writes:
            return None
        known = self._values.get(id(tensor))
        if known is not None and self.tape.nodes[known.node].op != "Param":
            return None
        name = self.params.get(id(original)) or f"outside.{list(self._originals).index(id(tensor))}"
        self.used.add(name)
        return Param(name, tuple(tensor.shape))

    def read(self, tensor: Tensor) -> Value:
        """What a traced tensor holds after all writes to its storage."""
        value = self._values.get(id(tensor)) or self._source(tensor)
        log = self._writes.get(value.storage)
        while log and value.version < len(log):
            value.version += 1
            self._follow(value, log[value.version - 1])
        return value

    def _follow(self, value: Value, write: Write) -> None:
        """Bring a view up to date with a write through another view of its storage."""
        tensor = value.tensor
        kind = relation(geometry(tensor), write.geometry)
        if kind == "apart":
            return
        old_shape = self.shape(value)
        static = write.static and (kind != "overlaps" or value.static)
        if value.static and not static:
            value.layout = reshape_layout(write.geometry[1], tensor.shape, write.layout, self.tape.batch)
        value.static = static
        written = stored_shape(write.geometry[1], write.layout, self.tape.batch)
        if kind == "same":
            value.node = write.node
        elif kind == "inside":
            value.node = self.tape.add("Slice", "slice", (write.node,), (written,), self.shape(value))
        else:
            value.node = self.tape.add(
                "Scatter", "write", (value.node, write.node), (old_shape, written), self.shape(value)
            )

    def shape(self, value: Value) -> Shape:
        """The shape a graph stores for a value."""
        return stored_shape(value.tensor.shape, value.layout, self.tape.batch)

    def _source(self, tensor: Tensor) -> Value:
        """A value that was there before the trace: a parameter or a constant."""
        param = self.param(tensor)
        if param is not None:
            node = self.tape.add("Param", param.id, shape=param.shape, params=(param,), path="")
        else:
            original = self._originals.get(id(tensor), tensor)
            plain = not original.is_meta and original.dim() == 0 and not original.is_complex()
            node = self.tape.add(
                "Constant", "constant", shape=tuple(tensor.shape), attrs={"value": float(original)} if plain else {}
            )
        return self.bind(tensor, node, NO_LAYOUT, True, version=0)

    def bind(self, tensor: Tensor, node: int, layout: AxisLayout, static: bool, version: int | None = None) -> Value:
        """Say what a tensor holds."""
        storage = storage_of(tensor)
        value = Value(
            tensor, node, layout, static, storage, len(self._writes.get(storage, ())) if version is None else version
        )
        self._values[id(tensor)] = value
        return value

    def write(self, tensor: Tensor, node: int, layout: AxisLayout, static: bool) -> None:
        """Say what a tensor, and so every view of its storage, holds after an in-place call."""
        storage = storage_of(tensor)
        self._writes.setdefault(storage, []).append(Write(geometry(tensor), node, layout, static))
        if storage in self._real_storages:
            self._promoted.add(self._real_storages[storage])
        self.bind(tensor, node, layout, static)


def storage_of(tensor: Tensor) -> int:
    """Identity of a tensor's storage."""
    return tensor.untyped_storage()._cdata


def tensors_in(item: object) -> list[Tensor]:
    """All tensors in nested tuples, lists and dictionaries, in order."""
    found: list[Tensor] = []
    _collect(item, found)
    return found


def _collect(item: object, found: list[Tensor]) -> None:
    if isinstance(item, Tensor):
        found.append(item)
    elif isinstance(item, tuple | list):
        for part in item:
            if type(part) not in ATOMS:
                _collect(part, found)
    elif isinstance(item, dict):
        for part in item.values():
            _collect(part, found)
    elif isinstance(item, slice):
        _collect((item.start, item.stop, item.step), found)
