"""The walk over a Keras network: every call that Keras recorded is handed to the converter of its layer or operation.

Values of the tape take the place of Keras tensors; shapes are computed anew from the concrete inputs, so that no
dimension is open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Unpack

import keras
from keras import KerasTensor, Variable, tree

from cgir import Param, TraceError
from cgir.errors import one_line
from cgir.graph import Shape
from frontends.common.tape import CallFields, Size, Tape, Value

Converter = Callable[..., Any]  # (walk, layer or operation, *arguments of the call) -> Value, or several


WEIGHTED = ("Conv", "DepthwiseConv", "BatchNorm", "LayerNorm", "RMSNorm")  # operations that have weights of their own


class UnfollowedError(TraceError):
    """The code inside a layer cannot be run on shapes alone."""


class Walk:
    """What converters work with: the tape, the parameters by identity, and the types of tensors that are not
    floating-point.
    """

    def __init__(
        self, tape: Tape, root: keras.Layer, layers: Mapping[str, Converter], operations: Mapping[str, Converter]
    ) -> None:
        self.tape = tape
        self.layers, self.operations = layers, operations
        self.sublayers = root._flatten_layers()
        self._last = keras.config.image_data_format() == "channels_last"
        # those of frozen layers too
        self._trained = {id(v) for layer in self.sublayers for v in layer._trainable_variables}
        self._dtypes: dict[int, str] = {}  # node -> type
        self._names: dict[int, str] = {}  # identity of a variable -> id of the parameter
        self._taken: set[str] = set()
        self._kept: list[Any] = []  # variables and tensors that must outlive their identities

    # --- tensors

    def input(self, name: str, size: Size, dtype: str) -> Value:
        """A graph input, the batch first."""
        value = self.tape.input(name, size, 0 if size[:1] == (self.tape.batch,) else None, floating="float" in dtype)
        self._dtypes[value.node] = dtype
        return value

    def dtype(self, value: Value) -> str:
        """The type of a value's elements."""
        return self._dtypes.get(value.node, "float32")

    def param(self, variable: Any, shape: Shape | None = None, part: str = "") -> Param:
        """A layer's own weight in the layout of `shape`, or a `part` of it; the same variable has the same id wherever
        it is used.
        """
        name = self._names.get(id(variable))
        if name is None:
            path = self.tape.path[-1]
            stem = f"{path}.{variable.name}" if path else variable.name
            name = next(
                each
                for each in (stem, *(f"{stem}#{count}" for count in range(2, len(self._taken) + 3)))
                if each not in self._taken
            )
            self._names[id(variable)] = name
            self._taken.add(name)
            self._kept.append(variable)
        return Param(name + part, tuple(variable.shape) if shape is None else tuple(shape))

    def value(self, item: Any) -> Value:
        """Any operand as a value: weights are parameters, everything else is constant."""
        if isinstance(item, Value):
            return item
        size = tuple(getattr(item, "shape", ()))
        if isinstance(item, Variable) and id(item) in self._trained:
            return self.tape.param(self.param(item).id, size)
        dtype = keras.backend.standardize_dtype(getattr(item, "dtype", "float32"))
        value = self.tape.constant("constant", size, item if isinstance(item, int | float | bool) else None)
        self._dtypes[value.node] = dtype
        return value

    # --- nodes

    def apply(
        self, op: str, name: str, inputs: Sequence[Value], size: Size, dtype: str = "", **fields: Unpack[CallFields]
    ) -> Value:
        """Append the node of a call with one result; its type is that of the first input unless given."""
        return self.several(op, name, inputs, [size], [dtype], **fields)[0]

    def several(
        self,
        op: str,
        name: str,
        inputs: Sequence[Value],
        sizes: Sequence[Size],
        dtypes: Sequence[str],
        **fields: Unpack[CallFields],
    ) -> list[Value]:
        """`apply` for a call with any number of results."""
        # the path says the layer's name already
        name = op.lower() if self.tape.path[-1].rpartition(".")[2] == name else name
        values = self.tape.apply(op, name, inputs, sizes, **{"channels_last": self._last} | fields)
        if values:
            self._dtypes[values[0].node] = dtypes[0] or (self.dtype(inputs[0]) if inputs else "float32")
        return values

    def same(self, op: str, name: str, value: Value, **fields: Unpack[CallFields]) -> Value:
        """A node whose result has the size of its input."""
        return self.apply(op, name, [value], value.size, **fields)

    def reshape(self, value: Value, size: Size) -> Value:
        """A reshape, left out where nothing changes."""
        return value if value.size == size else self.apply("Reshape", "reshape", [value], size)

    def transpose(self, value: Value, order: Sequence[int]) -> Value:
        """A permutation: axis `order[i]` becomes axis i."""
        if list(order) == list(range(len(order))):
            return value
        return self.apply(
            "Transpose",
            "transpose",
            [value],
            tuple(value.size[old] for old in order),
            axis_map={old: new for new, old in enumerate(order)},
        )

    def pick(self, value: Value, axis: int, size: int = 0) -> Value:
        """One element of an axis, which disappears, or a range of `size` elements."""
        kept = [old for old in range(len(value.size)) if old != axis or size]
        return self.apply(
            "Slice",
            "getitem",
            [value],
            tuple(size if old == axis else value.size[old] for old in kept),
            axis_map={old: new for new, old in enumerate(kept)},
        )

    # --- calls

    def call(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        """The result of calling a layer or operation."""
        if isinstance(operation, keras.Layer):
            with self.tape.module_scope(self.path_of(operation)):
                return self._layer(operation, *args, **kwargs)
        converter = self.operations.get(type(operation).__name__)
        if type(operation).__name__ not in WEIGHTED:
            args, kwargs = tree.map_structure(
                lambda leaf: self.value(leaf) if isinstance(leaf, Variable) else leaf, (args, kwargs)
            )
        return (converter or self.operations["Operation"])(self, operation, *args, **kwargs)

    def path_of(self, layer: Any) -> str:
        """The module path of a layer called here; the network itself is the empty path."""
        if layer is self.sublayers[0] and self.tape.path[-1] == "":
            return ""
        return f"{self.tape.path[-1]}.{layer.name}" if self.tape.path[-1] else layer.name

    def _layer(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        # this is inference on whole examples
        kwargs = {key: value for key, value in kwargs.items() if key not in ("training", "mask")}
        own = _own_class(layer)
        if own is None:
            return self.enter(layer.call, *args, **kwargs)
        converter = next((self.layers[base.__name__] for base in own.__mro__ if base.__name__ in self.layers), None)
        if converter is not None:
            return converter(self, layer, *args, **kwargs)
        function = layer._functional if isinstance(layer, keras.Sequential) else layer
        if isinstance(function, keras.Function):
            return self.function(function, *args)
        return self._library(layer, *args, **kwargs)

    def _library(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """A layer of Keras without a converter: what its code calls, or else a node of its own."""
        try:
            return self.enter(layer.call, *args, **kwargs)
        except UnfollowedError:
            return self.opaque(layer, *args, params=self.weights(layer), **kwargs)

    def weights(self, layer: Any) -> tuple[Param, ...]:
        """All parameters of a layer, in Keras's own layout."""
        return tuple(
            self.param(variable) for inner in layer._flatten_layers() for variable in inner._trainable_variables
        )

    def opaque(self, operation: Any, *args: Any, params: tuple[Param, ...] = (), **kwargs: Any) -> Any:
        """A node under the operation's own name, for what the vocabulary has no word for."""
        specs = self.specs(operation, *args, **kwargs)
        label = f"keras.{type(operation).__name__}"
        values = [leaf for leaf in tree.flatten((args, kwargs)) if isinstance(leaf, Value)]
        return self.several(
            "Opaque",
            label,
            values,
            [tuple(s.shape) for s in specs],
            [s.dtype for s in specs],
            params=params,
            display_name=label,
        )

    def function(self, function: Any, inputs: Any, *_: Any) -> Any:
        """The results of a network that Keras recorded, called on values."""
        struct = function._inputs_struct
        if isinstance(inputs, Mapping):
            names = list(struct) if isinstance(struct, Mapping) else [tensor.name for tensor in function.inputs]
            inputs = (
                [inputs[name] for name in sorted(names)]
                if isinstance(struct, Mapping)
                else [inputs[name] for name in names]
            )
        known = {id(tensor): value for tensor, value in zip(function.inputs, tree.flatten(inputs), strict=True)}
        self._run(function, known)
        return tree.map_structure(lambda tensor: known[id(tensor)], function._outputs_struct)

    def _run(self, function: Any, known: dict[int, Any]) -> None:
        """Call everything between the tensors known and the outputs, deepest first, as Keras itself does."""
        for depth in sorted(function._nodes_by_depth, reverse=True):
            for node in function._nodes_by_depth[depth]:
                if not node.is_input and all(id(tensor) in known for tensor in node.input_tensors):
                    self._node(node, known)

    def _node(self, node: Any, known: dict[int, Any]) -> None:
        args, kwargs = node.arguments.fill_in(known)
        results = tree.flatten(self.call(node.operation, *args, **kwargs))
        known.update((id(tensor), value) for tensor, value in zip(node.outputs, results, strict=True))

    # --- code that Keras did not record

    def spec(self, item: Any) -> Any:
        """What Keras computes shapes with, for a value or anything that contains values."""
        return tree.map_structure(
            lambda leaf: KerasTensor(leaf.size, self.dtype(leaf)) if isinstance(leaf, Value) else leaf, item
        )

    def specs(self, operation: Any, *args: Any, **kwargs: Any) -> list[Any]:
        """Shapes and types of a call's results, by Keras's own rule."""
        with keras.StatelessScope():
            return tree.flatten(operation.compute_output_spec(*self.spec(args), **self.spec(kwargs)))

    def enter(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a function on shapes alone, and follow the Keras layers and operations that it calls.

        Raises:
            UnfollowedError: the function calls something else, or fails.
        """
        known: dict[int, Any] = {}
        kept: list[Any] = []

        def symbol(item: Any) -> Any:
            """A Keras tensor that stands for a value or a weight."""
            shape, dtype = (item.size, self.dtype(item)) if isinstance(item, Value) else (item.shape, item.dtype)
            kept.append(tensor := KerasTensor(shape, dtype))
            known[id(tensor)] = item
            return tensor

        values = {id(leaf): leaf for leaf in tree.flatten((args, kwargs)) if isinstance(leaf, Value)}
        symbols = {key: symbol(value) for key, value in values.items()}
        args, kwargs = tree.map_structure(lambda leaf: symbols.get(id(leaf), leaf), (args, kwargs))
        try:
            with keras.StatelessScope(), _symbolic_weights(getattr(function, "__self__", None), symbol):
                result = function(*args, **kwargs)
            nodes = _recorded([leaf for leaf in tree.flatten(result) if isinstance(leaf, KerasTensor)], known)
        except Exception as error:
            raise UnfollowedError(f"{self.where()}: {one_line(error, 200, named=True)}") from error
        for node in nodes:
            self._node(node, known)
        self._kept.append((kept, nodes, result))
        return tree.map_structure(lambda leaf: self.value(known.get(id(leaf), leaf)), result)

    def where(self) -> str:
        """The layer being called, for messages."""
        return f"layer {self.tape.path[-1]!r}" if self.tape.path[-1] else "the model"


def _own_class(layer: Any) -> type | None:
    """Keras's own class whose `call` a layer has; None if a user wrote it."""
    for base in type(layer).__mro__:
        if base.__module__.startswith("keras."):
            return base
        if "call" in vars(base):
            return None
    return None


def _recorded(outputs: Sequence[Any], known: Mapping[int, Any]) -> list[Any]:
    """The recorded calls between known tensors and outputs, each after those it reads."""
    order: dict[Any, None] = {}
    stack = [(tensor, False) for tensor in reversed(outputs)]
    while stack:
        tensor, done = stack.pop()
        if id(tensor) in known:
            continue
        history = tensor._keras_history
        node = history.operation._inbound_nodes[history.node_index]
        if done:
            order.setdefault(node)
        elif node not in order:
            stack.append((tensor, True))
            stack += [(before, False) for before in reversed(node.input_tensors)]
    return list(order)


@contextmanager
def _symbolic_weights(layer: Any, symbol: Callable[[Any], Any]) -> Iterator[None]:
    """Meanwhile a layer's weights, and those of Keras's own layers directly in it, are symbols: what is computed from
    them alone is recorded too.
    """
    saved: list[tuple[dict[str, Any], str, Any]] = []
    stack = [layer] if isinstance(layer, keras.Layer) else []
    seen: set[int] = set()
    while stack:
        inner = stack.pop()
        seen.add(id(inner))
        for key, item in vars(inner).items():
            if isinstance(item, Variable):
                saved.append((vars(inner), key, item))
        # others find their shapes by running their code
        stack += [
            child
            for child in inner._layers
            if id(child) not in seen and _own_class(child) and not hasattr(child.compute_output_shape, "_is_default")
        ]
    try:
        symbols = {id(item): symbol(item) for _, _, item in saved}
        for attributes, key, item in saved:
            attributes[key] = symbols[id(item)]
        yield
    finally:
        for attributes, key, item in saved:
            attributes[key] = item


LISTS = ("_inbound_nodes", "_outbound_nodes", "_losses")


@contextmanager
def untouched(layers: Sequence[Any]) -> Iterator[None]:
    """Put back the attributes of layers, and forget the calls recorded meanwhile."""
    before = [(vars(layer), dict(vars(layer))) for layer in layers]
    lengths = [
        (kept, len(kept)) for _, attributes in before for key in LISTS if (kept := attributes.get(key)) is not None
    ]
    try:
        yield
    finally:
        for live, attributes in before:
            if len(live) != len(attributes) or any(
                live.get(key, live) is not value for key, value in attributes.items()
            ):
                live.clear()
                live.update(attributes)
        for kept, length in lengths:
            del kept[length:]
