"""Import of a Keras network: every call that Keras recorded is handed to the converter of its layer or operation.

Values of the tape replace Keras tensors; shapes are computed again from the concrete inputs, so that no dimension is
open. Code that Keras did not record is run on symbolic tensors, which records it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, Unpack

import keras
from keras import KerasTensor, Variable, tree

from cgir import Param, TraceError
from cgir.errors import one_line
from cgir.graph import Shape
from cgir.typing import AnyArray
from frontends.common.tape import CallFields, Size, Tape, Value

from .layer_state import library_class_of, symbolic_weights
from .operator_groups import WEIGHTED, WITHOUT_PRODUCTS

# (importer, layer or operation, *arguments of the call) -> value of its result, or several
KerasConverter: TypeAlias = Callable[..., Any]
ValueTree: TypeAlias = Any  # values, nested as Keras nests the tensors of a result
TensorLike: TypeAlias = "Value | Variable | AnyArray | float"  # what an operation takes
Values: TypeAlias = "Value | list[Value]"  # the result of a call, or several
IntOrInts: TypeAlias = int | Sequence[int]


class UnfollowedError(TraceError):
    """The code inside a layer cannot be run on symbolic tensors."""


class RecordedCall(Protocol):
    """A call that Keras recorded, a `keras.src.ops.node.Node`."""

    operation: keras.Operation
    arguments: Any
    input_tensors: Sequence[KerasTensor]
    outputs: Sequence[KerasTensor]
    is_input: bool


class KerasImporter:
    """The state of one import.

    Attributes:
        tape: where nodes are appended.
        layer_converters: class of a layer -> converter.
        op_converters: class of an operation -> converter; that of "Operation" is for all others.
    """

    def __init__(
        self,
        tape: Tape,
        root: keras.Layer,
        layer_converters: Mapping[str, KerasConverter],
        op_converters: Mapping[str, KerasConverter],
    ) -> None:
        """An importer before the first call.

        Args:
            tape: where nodes are appended.
            root: the network.
            layer_converters: class of a layer -> converter.
            op_converters: class of an operation -> converter.
        """
        self.tape = tape
        self.layer_converters, self.op_converters = layer_converters, op_converters
        self._layers = root._flatten_layers()
        self._channels_last = keras.config.image_data_format() == "channels_last"
        # including those of frozen layers
        self._trainable_ids = {id(v) for layer in self._layers for v in layer._trainable_variables}
        self._dtypes: dict[int, str] = {}  # node -> type
        self._param_ids: dict[int, str] = {}  # identity of a variable -> id of the parameter
        self._used_ids: set[str] = set()
        self._alive: list[object] = []  # variables and tensors that must outlive their identities

    # --- tensors

    def input(self, name: str, size: Size, dtype: str, batch_axis: int | None) -> Value:
        """A graph input.

        Args:
            name: of the input.
            size: of the tensor.
            dtype: of its elements.
            batch_axis: the axis of the batch, None if it has none.
        """
        value = self.tape.input(name, size, batch_axis, floating="float" in dtype)
        self._dtypes[value.node] = dtype
        return value

    def dtype(self, value: Value) -> str:
        """The type of a value's elements."""
        return self._dtypes.get(value.node, "float32")

    def param(self, variable: Variable, shape: Shape | None = None, part: str = "") -> Param:
        """A layer's own weight as a parameter; a variable has the same id wherever it is used.

        Args:
            variable: the weight.
            shape: of the parameter in PyTorch's order; that of the variable if None.
            part: suffix of the id, for a part of the variable.
        """
        name = self._param_ids.get(id(variable))
        if name is None:
            path = self.tape.path[-1]
            stem = f"{path}.{variable.name}" if path else variable.name
            name = next(
                candidate
                for candidate in (stem, *(f"{stem}#{count}" for count in range(2, len(self._used_ids) + 3)))
                if candidate not in self._used_ids
            )
            self._param_ids[id(variable)] = name
            self._used_ids.add(name)
            self._alive.append(variable)
        return Param(name + part, tuple(variable.shape) if shape is None else tuple(shape))

    def to_value(self, item: TensorLike) -> Value:
        """Any operand as a value: weights are parameters, everything else is constant."""
        if isinstance(item, Value):
            return item
        size = tuple(getattr(item, "shape", ()))
        if isinstance(item, Variable) and id(item) in self._trainable_ids:
            return self.tape.param(self.param(item).id, size)
        dtype = keras.backend.standardize_dtype(getattr(item, "dtype", "float32"))
        value = self.tape.constant("constant", size, item if isinstance(item, int | float | bool) else None)
        self._dtypes[value.node] = dtype
        return value

    # --- nodes

    def emit(
        self, op: str, name: str, inputs: Sequence[Value], size: Size, dtype: str = "", **fields: Unpack[CallFields]
    ) -> Value:
        """Append the node of a call with one result.

        Args:
            op: name of the operator in `cgir.ops`.
            name: of the node.
            inputs: values that it reads.
            size: of the result.
            dtype: of the result; that of the first input if empty.
            fields: further fields of `OpCall`.
        """
        return self.emit_results(op, name, inputs, [size], [dtype], **fields)[0]

    def emit_results(
        self,
        op: str,
        name: str,
        inputs: Sequence[Value],
        sizes: Sequence[Size],
        dtypes: Sequence[str],
        **fields: Unpack[CallFields],
    ) -> list[Value]:
        """Append the node of a call with any number of results.

        Args:
            op: name of the operator in `cgir.ops`.
            name: of the node.
            inputs: values that it reads.
            sizes: of the results.
            dtypes: of the results; the first is kept.
            fields: further fields of `OpCall`.
        """
        # the path contains the layer's name already
        name = op.lower() if self.tape.path[-1].rpartition(".")[2] == name else name
        values = self.tape.apply(op, name, inputs, sizes, **{"channels_last": self._channels_last} | fields)
        if values:
            self._dtypes[values[0].node] = dtypes[0] or (self.dtype(inputs[0]) if inputs else "float32")
        return values

    def emit_unary(self, op: str, name: str, value: Value, **fields: Unpack[CallFields]) -> Value:
        """Append a node whose result has the size of its input.

        Args:
            op: name of the operator in `cgir.ops`.
            name: of the node.
            value: its input.
            fields: further fields of `OpCall`.
        """
        return self.emit(op, name, [value], value.size, **fields)

    def reshape(self, value: Value, size: Size) -> Value:
        """A reshape, left out where nothing changes."""
        return value if value.size == size else self.emit("Reshape", "reshape", [value], size)

    def transpose(self, value: Value, order: Sequence[int]) -> Value:
        """A permutation: axis `order[i]` becomes axis i."""
        if list(order) == list(range(len(order))):
            return value
        return self.emit(
            "Transpose",
            "transpose",
            [value],
            tuple(value.size[old] for old in order),
            axis_map={old: new for new, old in enumerate(order)},
        )

    def slice_axis(self, value: Value, axis: int, size: int = 0) -> Value:
        """One element of an axis, which disappears, or a range of elements.

        Args:
            value: the tensor.
            axis: that is sliced.
            size: number of elements of a range, 0 for one element.
        """
        remaining = [old for old in range(len(value.size)) if old != axis or size]
        return self.emit(
            "Slice",
            "getitem",
            [value],
            tuple(size if old == axis else value.size[old] for old in remaining),
            axis_map={old: new for new, old in enumerate(remaining)},
        )

    # --- calls

    def import_call(self, operation: keras.Operation, *args: object, **kwargs: object) -> ValueTree:
        """The result of calling a layer or operation.

        Args:
            operation: the layer or operation.
            args: values, and whatever else it is called with.
            kwargs: the same.
        """
        if isinstance(operation, keras.Layer):
            with self.tape.module_scope(self.module_path(operation)):
                return self._import_layer(operation, *args, **kwargs)
        converter = self.op_converters.get(type(operation).__name__)
        if type(operation).__name__ not in WEIGHTED:
            args, kwargs = tree.map_structure(
                lambda leaf: self.to_value(leaf) if isinstance(leaf, Variable) else leaf, (args, kwargs)
            )
        return (converter or self.op_converters["Operation"])(self, operation, *args, **kwargs)

    def module_path(self, layer: keras.Layer) -> str:
        """The module path of a layer called here; the network itself is the empty path."""
        if layer is self._layers[0] and self.tape.path[-1] == "":
            return ""
        return f"{self.tape.path[-1]}.{layer.name}" if self.tape.path[-1] else layer.name

    def _import_layer(self, layer: keras.Layer, *args: object, **kwargs: object) -> ValueTree:
        """The result of a layer: by its converter, its recorded network, or what its code calls."""
        # this is inference on whole examples
        kwargs = {key: value for key, value in kwargs.items() if key not in ("training", "mask")}
        library_class = library_class_of(layer)
        if library_class is None:
            return self.trace_code(layer.call, *args, **kwargs)
        converter = next(
            (
                self.layer_converters[base.__name__]
                for base in library_class.__mro__
                if base.__name__ in self.layer_converters
            ),
            None,
        )
        if converter is not None and not getattr(layer, "lora_enabled", False):
            return converter(self, layer, *args, **kwargs)
        function = layer._functional if isinstance(layer, keras.Sequential) else layer
        if isinstance(function, keras.Function):
            return self.import_function(function, *args)
        return self._import_library_layer(layer, *args, **kwargs)

    def _import_library_layer(self, layer: keras.Layer, *args: object, **kwargs: object) -> ValueTree:
        """A layer of Keras without a converter: what its code calls, or else a node of its own."""
        try:
            return self.trace_code(layer.call, *args, **kwargs)
        except UnfollowedError:
            return self.emit_opaque(layer, *args, params=self.params_of(layer), **kwargs)

    def params_of(self, layer: keras.Layer) -> tuple[Param, ...]:
        """All parameters of a layer, in Keras's own layout."""
        return tuple(
            self.param(variable) for inner in layer._flatten_layers() for variable in inner._trainable_variables
        )

    def emit_opaque(
        self, operation: keras.Operation, *args: object, params: tuple[Param, ...] = (), **kwargs: object
    ) -> list[Value]:
        """Append an opaque node under the operation's own name.

        Args:
            operation: that is not in the vocabulary.
            args: that it is called with.
            params: of the node.
            kwargs: that it is called with.
        """
        specs = self.result_specs(operation, *args, **kwargs)
        label = f"keras.{type(operation).__name__}"
        values = [leaf for leaf in tree.flatten((args, kwargs)) if isinstance(leaf, Value)]
        return self.emit_results(
            "Opaque",
            label,
            values,
            [tuple(s.shape) for s in specs],
            [s.dtype for s in specs],
            params=params,
            attrs={"flops": 0} if type(operation).__name__ in WITHOUT_PRODUCTS else {},
            display_name=label,
        )

    def import_function(self, function: keras.Function, inputs: object, *_: object) -> ValueTree:
        """The results of a network that Keras recorded, called on values.

        Args:
            function: the network.
            inputs: values in the structure of its inputs.
            _: further arguments of the call, which change nothing at inference.
        """
        struct = function._inputs_struct
        if isinstance(inputs, Mapping):
            names = list(struct) if isinstance(struct, Mapping) else [tensor.name for tensor in function.inputs]
            inputs = (
                [inputs[name] for name in sorted(names)]
                if isinstance(struct, Mapping)
                else [inputs[name] for name in names]
            )
        values_by_id = {id(tensor): value for tensor, value in zip(function.inputs, tree.flatten(inputs), strict=True)}
        self._import_recorded_calls(function, values_by_id)
        return tree.map_structure(lambda tensor: values_by_id[id(tensor)], function._outputs_struct)

    def _import_recorded_calls(self, function: keras.Function, values_by_id: dict[int, Value | Variable]) -> None:
        """Import all calls between the given tensors and the outputs, deepest first, as Keras itself runs them."""
        for depth in sorted(function._nodes_by_depth, reverse=True):
            for node in function._nodes_by_depth[depth]:
                if not node.is_input and all(id(tensor) in values_by_id for tensor in node.input_tensors):
                    self._import_recorded(node, values_by_id)

    def _import_recorded(self, node: RecordedCall, values_by_id: dict[int, Value | Variable]) -> None:
        """Import one recorded call and add its results to `values_by_id`."""
        args, kwargs = node.arguments.fill_in(values_by_id)
        results = tree.flatten(self.import_call(node.operation, *args, **kwargs))
        values_by_id.update((id(tensor), value) for tensor, value in zip(node.outputs, results, strict=True))

    # --- code that Keras did not record

    def _symbolic(self, item: object) -> Any:
        """A value, or anything that contains values, with symbolic tensors in their place."""
        return tree.map_structure(
            lambda leaf: KerasTensor(leaf.size, self.dtype(leaf)) if isinstance(leaf, Value) else leaf, item
        )

    def result_specs(self, operation: keras.Operation, *args: object, **kwargs: object) -> list[KerasTensor]:
        """Shapes and types of a call's results, by Keras's own shape inference.

        Args:
            operation: the layer or operation.
            args: that it is called with.
            kwargs: that it is called with.

        Raises:
            TraceError: a size depends on values.
        """
        with keras.StatelessScope():
            specs = list(tree.flatten(operation.compute_output_spec(*self._symbolic(args), **self._symbolic(kwargs))))
        for spec in specs:
            if None in spec.shape:
                raise TraceError(
                    f"{self.location()}: the size of what {type(operation).__name__} returns, {tuple(spec.shape)}, "
                    "depends on values, and tracing knows sizes only; fix it (TextVectorization has "
                    "output_sequence_length), or trace what comes after it, for instance a keras.Sequential of the "
                    "layers behind it, on example inputs"
                )
        return specs

    def trace_code(self, function: Callable[..., object], *args: object, **kwargs: object) -> ValueTree:
        """Run code on symbolic tensors, and import the Keras layers and operations that it calls.

        Args:
            function: the code, such as the `call` of a layer.
            args: that it is called with.
            kwargs: that it is called with.

        Raises:
            UnfollowedError: the function calls something else, or fails.
        """
        values_by_id: dict[int, Value | Variable] = {}
        tensors: list[KerasTensor] = []

        def symbol(item: Value | Variable) -> KerasTensor:
            """A symbolic Keras tensor in place of a value or a weight."""
            shape, dtype = (item.size, self.dtype(item)) if isinstance(item, Value) else (item.shape, item.dtype)
            tensors.append(tensor := KerasTensor(shape, dtype))
            values_by_id[id(tensor)] = item
            return tensor

        values = {id(leaf): leaf for leaf in tree.flatten((args, kwargs)) if isinstance(leaf, Value)}
        symbols = {key: symbol(value) for key, value in values.items()}
        args, kwargs = tree.map_structure(lambda leaf: symbols.get(id(leaf), leaf), (args, kwargs))
        try:
            with keras.StatelessScope(), symbolic_weights(getattr(function, "__self__", None), symbol):
                result = function(*args, **kwargs)
            nodes = _calls_between(
                [leaf for leaf in tree.flatten(result) if isinstance(leaf, KerasTensor)], values_by_id
            )
        except Exception as error:
            raise UnfollowedError(f"{self.location()}: {one_line(error, 200, named=True)}") from error
        for node in nodes:
            self._import_recorded(node, values_by_id)
        self._alive.append((tensors, nodes, result))
        return tree.map_structure(lambda leaf: self.to_value(values_by_id.get(id(leaf), leaf)), result)

    def location(self) -> str:
        """The layer being called, for messages."""
        return f"layer {self.tape.path[-1]!r}" if self.tape.path[-1] else "the model"


def _calls_between(outputs: Sequence[KerasTensor], values_by_id: Mapping[int, Value | Variable]) -> list[RecordedCall]:
    """The recorded calls between given tensors and outputs, each after those it reads."""
    order: dict[RecordedCall, None] = {}
    stack = [(tensor, False) for tensor in reversed(outputs)]
    while stack:
        tensor, done = stack.pop()
        if id(tensor) in values_by_id:
            continue
        history = tensor._keras_history
        node = history.operation._inbound_nodes[history.node_index]
        if done:
            order.setdefault(node)
        elif node not in order:
            stack.append((tensor, True))
            stack += [(before, False) for before in reversed(node.input_tensors)]
    return list(order)
