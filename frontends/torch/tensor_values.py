"""Tensor values: which node of the tape each tensor holds while a module is traced, in-place writes included.

Tensors made before the trace (weights, buffers, constants) are never written to: in calls with a traced tensor they are
replaced by a meta tensor (their meta twin), in calls on constants by a copy once one of them writes. So in-place writes
of the forward do not change the module.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from cgir import Param, TraceError
from cgir.graph import Gap, Shape
from frontends.common.axis_layout import NO_LAYOUT, AxisLayout, reshape_layout, stored_shape
from frontends.common.tape import OpCall, Operand, Tape

from .aliasing import Write, expansion, geometry, overlap, transposition
from .sparse_tensors import num_elements
from .typing import Number

MAX_HELD = 1 << 16  # elements of a constant that is kept alive during the trace, because it is used again
ATOMS = frozenset((int, float, str, bool, type(None), torch.Size, torch.dtype, torch.device))


@dataclass(slots=True)
class TensorState:
    """What a tensor holds, a `TracedValue` of the tape.

    Attributes:
        tensor: keeps it alive, so that no other tensor gets its identity.
        node: index of the node that computed it.
        layout: its axes.
        static: whether it depends on no graph input.
        storage: identity of its storage.
        version: how many writes to its storage `node` includes.
    """

    tensor: Tensor
    node: int
    layout: AxisLayout
    static: bool
    storage: int
    version: int


class TensorValues:
    """Tensors of the trace and what they hold.

    Args:
        tape: that nodes of parameters, constants and writes are appended to.
        param_names: identity of each of the module's parameters -> its name.
        own_tensors: identities of the module's other tensors.
    """

    def __init__(self, tape: Tape, param_names: Mapping[int, str], own_tensors: set[int]) -> None:
        self.tape, self.param_names, self.own_tensors = tape, param_names, own_tensors
        self.used_params: set[str] = set()
        self._ignored_params: dict[str, str] = {}  # parameters that a call read and its node has not -> the call
        self._states: dict[int, TensorState] = {}
        # by the identity of a tensor made before the trace: itself, and the meta tensor that replaces it
        self._meta_twins: dict[int, tuple[Tensor | weakref.ref[Tensor], Tensor]] = {}
        self._originals: dict[int, Tensor] = {}  # identity of a twin -> the tensor that it replaces, or the twin
        self._twin_storages: dict[int, tuple[StorageWeakRef, torch.UntypedStorage]] = {}
        self._real_storages: dict[int, int] = {}  # storage of a twin -> storage of the real tensor
        self._promoted: set[int] = set()  # real storages that received traced values: they are traced from then on
        self._constants: dict[int, StorageWeakRef] = {}  # storages made during the trace, which may be written to
        self._read: dict[int, StorageWeakRef] = {}  # storages made before the trace that were only read so far
        # storage made before the trace that is written to -> its copy; and the tensors of those storages -> theirs
        self._copies: dict[int, torch.UntypedStorage] = {}
        self._aliases: dict[int, tuple[Tensor, Tensor]] = {}
        self._writes: dict[int, list[Write]] = {}
        self.nonzeros: dict[int, int] = {}  # identity of a tensor that stands for a sparse one -> its elements

    def copy(self, tape: Tape) -> TensorValues:
        """The same values on a copy of the tape, for calls that are tried out; both share the meta twins."""
        other = copy.copy(self)
        other.tape, other.used_params = tape, self.used_params.copy()
        other._states = {key: replace(state) for key, state in self._states.items()}
        other._writes = {storage: log.copy() for storage, log in self._writes.items()}
        other._promoted = self._promoted.copy()
        return other

    def is_traced(self, tensor: Tensor) -> bool:
        """Whether calls on this tensor are traced; those on constants alone are executed."""
        if tensor.is_meta or isinstance(tensor, torch.nn.Parameter):
            return True
        return bool(self._promoted) and storage_id(self.constant(tensor)) in self._promoted

    def state_of(self, tensor: Tensor) -> TensorState | None:
        """The state of a tensor that was traced already, without later writes to its storage."""
        return self._states.get(id(tensor))

    def known_number(self, tensor: Tensor) -> Tensor | Number:
        """The number that a constant of one element holds; other tensors as they are."""
        return tensor if tensor.dim() or self.is_traced(tensor) else self.constant(tensor).item()

    def as_traced(self, tensor: Tensor) -> Tensor:
        """The meta tensor that replaces `tensor` in the trace."""
        if id(tensor) in self._states or id(tensor) in self._originals:
            return tensor
        if self._copies and not tensor.is_meta and not isinstance(tensor, torch.nn.Parameter):
            tensor = self.constant(tensor)
        if id(tensor) in self._meta_twins:
            return self._meta_twins[id(tensor)][1]
        is_new = not isinstance(tensor, torch.nn.Parameter) or self._is_made_of_traced(tensor)
        if tensor.is_meta and is_new and id(tensor) not in self.own_tensors:
            return self._traced_alias(tensor)
        return self._meta_twin(tensor)

    def _is_made_of_traced(self, parameter: Tensor) -> bool:
        """Whether the forward made a parameter of a tensor of the trace, as a copy of a layer has them."""
        if id(parameter) in self.param_names:
            return False
        storage = storage_id(parameter)
        return any(state.storage == storage for state in self._states.values())

    def _meta_twin(self, tensor: Tensor) -> Tensor:
        """A new meta tensor in place of one made before the trace, or of a constant; large constants are not held."""
        if tensor.layout is not torch.strided:
            return self._dense_twin(tensor)
        storage = tensor.untyped_storage()
        if storage._cdata not in self._twin_storages:
            twin_storage = torch.UntypedStorage(storage.nbytes(), device="meta")  # type: ignore[no-untyped-call]
            self._twin_storages[storage._cdata] = _reference(storage), twin_storage
            self._real_storages[twin_storage._cdata] = storage._cdata
        empty = torch.empty(0, dtype=tensor.dtype, device="meta")
        twin_storage = self._twin_storages[storage._cdata][1]
        twin = empty.set_(twin_storage, tensor.storage_offset(), tensor.shape, tensor.stride())
        if isinstance(tensor, torch.nn.Parameter) or tensor.numel() <= MAX_HELD:
            self._meta_twins[id(tensor)], self._originals[id(twin)] = (tensor, twin), tensor
        else:
            forget = partial(self._forget, id(tensor))
            self._meta_twins[id(tensor)], self._originals[id(twin)] = (weakref.ref(tensor, forget), twin), twin
        return twin

    def _forget(self, identity: int, reference: object) -> None:
        self._meta_twins.pop(identity, None)

    def _dense_twin(self, tensor: Tensor) -> Tensor:
        """A meta tensor in place of a sparse one, which has no storage."""
        twin = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
        self._meta_twins[id(tensor)] = (tensor, twin)
        self._originals[id(twin)] = tensor
        self.nonzeros[id(twin)] = num_elements(tensor)
        return twin

    def _traced_alias(self, tensor: Tensor) -> Tensor:
        """The traced tensor with this storage and geometry: autograd functions return arguments as new objects.

        The results of `torch.vmap` may also have their axes in another order, or be repeated along an axis that the
        function did not use.
        """
        storage, tensor_geometry = storage_id(tensor), geometry(tensor)
        states = [state for state in reversed(self._states.values()) if state.storage == storage]
        for state in states:
            if geometry(state.tensor) == tensor_geometry:
                return state.tensor
        for state in states:
            axis_map = transposition(geometry(state.tensor), tensor_geometry)
            if axis_map is not None:
                return self._transposed(state, tensor, axis_map)
        for state in states:
            axis_map = expansion(geometry(state.tensor), tensor_geometry)
            if axis_map is not None:
                return self._expanded(state, tensor, axis_map)
        raise TraceError(
            "a tensor comes from code that the recorder cannot see (TorchScript, a C++ extension, or a tensor on the "
            "meta device made outside the module); trace the Python version of that code"
        )

    def _expanded(self, state: TensorState, tensor: Tensor, axis_map: dict[int, int]) -> Tensor:
        """Bind a tensor that repeats the value of a state along some axes."""
        thin = tensor
        for axis in range(tensor.dim()):
            if not tensor.stride(axis) and axis not in axis_map.values():
                thin = thin.narrow(axis, 0, 1)
        for op, before, after in (("Reshape", state.tensor, thin), ("Expand", thin, tensor)):
            if before is not after:
                moved = axis_map if op == "Reshape" else None
                call = OpCall(op, op.lower(), [Operand(self.read(before), tuple(before.shape))], axis_map=moved)
                node, [layout], static = self.tape.emit(call, [tuple(after.shape)])
                self.bind(after, node, layout, static)
        return tensor

    def _transposed(self, state: TensorState, tensor: Tensor, axis_map: dict[int, int]) -> Tensor:
        """Bind a tensor to a transposition of the value of a state."""
        size = tuple(state.tensor.shape)
        call = OpCall("Transpose", "permute", [Operand(self.read(state.tensor), size)], axis_map=axis_map)
        node, [layout], static = self.tape.emit(call, [tuple(tensor.shape)])
        self.bind(tensor, node, layout, static)
        return tensor

    def constant(self, tensor: Tensor, written: bool = False) -> Tensor:
        """The tensor that calls on constants use: the tensor itself unless its storage is one that the trace copied.

        Args:
            tensor: a constant.
            written: whether the call may write to it; a storage made before the trace is then copied.
        """
        if id(tensor) in self._states or tensor.layout is not torch.strided:
            return tensor
        storage = tensor.untyped_storage()
        identity = storage._cdata
        if identity in self._constants:
            return tensor
        if identity not in self._copies:
            if not written:
                self._read.setdefault(identity, _reference(storage))
                return tensor
            self._copies[identity] = copied = storage.clone()  # type: ignore[no-untyped-call]
            self._constants[copied._cdata] = _reference(copied)
        if id(tensor) not in self._aliases:
            empty = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
            alias = empty.set_(self._copies[identity], tensor.storage_offset(), tensor.shape, tensor.stride())
            alias = alias.conj() if tensor.is_conj() else alias
            self._aliases[id(tensor)] = (tensor, torch._neg_view(alias) if tensor.is_neg() else alias)
        return self._aliases[id(tensor)][1]

    def register_constant(self, tensor: Tensor) -> None:
        """Remember a constant that the trace made, so that it may be written to; views of others may not."""
        if tensor.layout is torch.strided:
            storage = tensor.untyped_storage()
            if storage._cdata not in self._constants and storage._cdata not in self._read:
                self._constants[storage._cdata] = _reference(storage)

    def as_param(self, tensor: Tensor) -> Param | None:
        """The parameter that a traced tensor replaces, None if it is another tensor or was written to."""
        original = self._originals.get(id(tensor))
        if not isinstance(original, torch.nn.Parameter) or storage_id(tensor) in self._writes:
            return None
        if id(original) not in self.param_names and storage_id(original) in self._constants:
            return None  # made in the forward, of a constant
        state = self._states.get(id(tensor))
        if state is not None and self.tape.nodes[state.node].op != "Param":
            return None
        name = self.param_names.get(id(original)) or f"outside.{list(self._originals).index(id(tensor))}"
        self.used_params.add(name)
        return Param(name, tuple(tensor.shape))

    def note_ignored(self, call: str, tensors: Sequence[Tensor], kept: Sequence[Tensor | None]) -> None:
        """Note parameters among the tensors that a call reads that its node does not have.

        Args:
            call: name of the call.
            tensors: that it reads.
            kept: those that become inputs or parameters of its node.
        """
        params = [tensor for tensor in tensors if isinstance(self._originals.get(id(tensor)), torch.nn.Parameter)]
        for tensor in params:
            if not any(tensor is other for other in kept):
                name = self.param_names.get(id(self._originals[id(tensor)]), "")
                self._ignored_params.setdefault(name, call)

    def gaps(self) -> tuple[Gap, ...]:
        """Parameters that calls read, and that no node of the tape has."""
        held = {param.id for node in self.tape.nodes for param in node.params}
        read = dict.fromkeys(self.used_params, "a call") | self._ignored_params
        return tuple(
            Gap("parameters", f"parameter {name!r} was read by {call}, but no operator of the graph has it")
            for name, call in read.items()
            if name not in held
        )

    def read(self, tensor: Tensor) -> TensorState:
        """The state of a traced tensor after all writes to its storage."""
        state = self._states.get(id(tensor)) or self._bind_source(tensor)
        log = self._writes.get(state.storage)
        while log and state.version < len(log):
            state.version += 1
            self._apply_write(state, log[state.version - 1])
        return state

    def _apply_write(self, state: TensorState, write: Write) -> None:
        """Bring a view up to date with a write through another view of its storage."""
        affected = overlap(geometry(state.tensor), write.geometry)
        if affected == "apart":
            return
        shape_before = self.stored_shape(state)
        static = write.static and (affected != "overlaps" or state.static)
        if state.static and not static:
            state.layout = reshape_layout(write.geometry.size, state.tensor.shape, write.layout, self.tape.batch)
        state.static = static
        if affected == "same":
            state.node = write.node
            return
        written = stored_shape(write.geometry.size, write.layout, self.tape.batch)
        shape = self.stored_shape(state)
        if affected == "inside":
            state.node = self.tape.add("Slice", "slice", (write.node,), (written,), shape)
        else:
            state.node = self.tape.add("Scatter", "write", (state.node, write.node), (shape_before, written), shape)

    def stored_shape(self, state: TensorState) -> Shape:
        """The shape that a graph stores for a tensor."""
        return stored_shape(state.tensor.shape, state.layout, self.tape.batch)

    def _bind_source(self, tensor: Tensor) -> TensorState:
        """The state of a tensor made before the trace, with a new node for the parameter or constant."""
        param = self.as_param(tensor)
        if param is not None:
            node = self.tape.add("Param", param.id, shape=param.shape, params=(param,), path="")
        else:
            original = self._originals.get(id(tensor), tensor)
            is_number = not original.is_meta and original.dim() == 0 and not original.is_complex()
            attrs = {"value": float(self.constant(original))} if is_number else {}
            node = self.tape.add("Constant", "constant", shape=tuple(tensor.shape), attrs=attrs)
        return self.bind(tensor, node, NO_LAYOUT, True, version=0)

    def bind(
        self, tensor: Tensor, node: int, layout: AxisLayout, static: bool, version: int | None = None
    ) -> TensorState:
        """Set what a tensor holds.

        Args:
            tensor: a new tensor, or one that holds something else from now on.
            node: index of the node that computed it.
            layout: its axes.
            static: whether it depends on no graph input.
            version: how many writes to its storage the node includes; all so far if None.
        """
        storage = storage_id(tensor)
        if version is None:
            version = len(self._writes.get(storage, ()))
        state = TensorState(tensor, node, layout, static, storage, version)
        self._states[id(tensor)] = state
        return state

    def write(self, tensor: Tensor, node: int, layout: AxisLayout, static: bool) -> None:
        """Set what a tensor, and so every view of its storage, holds after an in-place call.

        Args:
            tensor: that was written to.
            node: index of the node that computed its new values.
            layout: its axes.
            static: whether the new values depend on no graph input.
        """
        storage = storage_id(tensor)
        self._writes.setdefault(storage, []).append(Write(geometry(tensor), node, layout, static))
        if storage in self._real_storages:
            self._promoted.add(self._real_storages[storage])
        self.bind(tensor, node, layout, static)


def _reference(storage: torch.UntypedStorage) -> StorageWeakRef:
    """Keeps the identity of a storage in use, but not its contents."""
    return StorageWeakRef(storage)  # type: ignore[no-untyped-call]


def storage_id(tensor: Tensor) -> int:
    """Identity of a tensor's storage."""
    identity: int = tensor.untyped_storage()._cdata
    return identity


def tensors_in(item: object) -> list[Tensor]:
    """All tensors in nested tuples, lists and dictionaries, in order."""
    tensors: list[Tensor] = []
    _collect(item, tensors)
    return tensors


def _collect(item: object, tensors: list[Tensor]) -> None:
    if isinstance(item, Tensor):
        tensors.append(item)
    elif isinstance(item, tuple | list):
        for part in item:
            if type(part) not in ATOMS:
                _collect(part, tensors)
    elif isinstance(item, dict):
        for part in item.values():
            _collect(part, tensors)
    elif isinstance(item, slice):
        _collect((item.start, item.stop, item.step), tensors)
