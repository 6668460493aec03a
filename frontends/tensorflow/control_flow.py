"""Control flow of TensorFlow: calls are inlined, the bodies of loops and branches stand in the graph before one node
for the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cgir import TraceError
from frontends.common.axis_layout import AxisLayout, stored_shape
from frontends.common.tape import OpCall, Operand, Size, Value

from .graph_def import FLOATING, INT32, RESOURCE, VARIANT, Item, NodeDef, Variable, attr, data_inputs, round_after
from .graph_walk import Control, Frame, Walk
from .loop_analysis import invariants, iterations
from .shape_inference import constant, numbers


def _function_name(node: NodeDef, name: str) -> str:
    return str(attr(node, name).name)


# --- sources


def _const(walk: Walk, node: NodeDef, items: list[Item], frame: Frame) -> list[Item]:
    """A constant; in frozen graphs floating-point ones with axes are the weights."""
    item = constant(node)
    if node.name in frame.weights:
        scope = f"{walk.inlined[-1]}/" if walk.inlined else ""
        return [Item(item.size, item.dtype, variable=Variable(scope + node.name, item.size, item.dtype, True))]
    return [item]


def _placeholder(walk: Walk, node: NodeDef, items: list[Item], frame: Frame) -> list[Item]:
    raise TraceError(f"node {node.name!r} ({node.op}) is an input that the signature does not name")


def _variable(walk: Walk, node: NodeDef, items: list[Item], frame: Frame) -> list[Item]:
    """A variable of a graph without a list of them (TensorFlow 1)."""
    size = tuple(int(dim.size) for dim in attr(node, "shape").dim)
    dtype = int(attr(node, "dtype"))
    variable = Variable(node.name, size, dtype, dtype in FLOATING)
    return [Item((), RESOURCE, variable=variable) if node.op == "VarHandleOp" else walk.read(variable)]


def _read(walk: Walk, node: NodeDef, items: list[Item], frame: Frame) -> list[Item]:
    """The contents of a variable."""
    if items[0].variable is None and items[0].dtype == RESOURCE:
        raise TraceError(
            f"node {node.name!r} reads a variable that the graph does not have; trace the function, the SavedModel or a frozen graph instead"
        )
    return [walk.read(items[0].variable) if items[0].variable is not None else items[0]]


# --- calls and branches


def _call(walk: Walk, node: NodeDef, items: list[Item], frame: Frame) -> list[Item]:
    return walk.function(_function_name(node, "f"), items, node)


def _if(walk: Walk, node: NodeDef, items: list[Item], frame: Frame) -> list[Item]:
    return _branches(
        walk,
        node,
        items,
        {"then": _function_name(node, "then_branch"), "else": _function_name(node, "else_branch")},
        (1, 0),
    )


def _case(walk: Walk, node: NodeDef, items: list[Item], frame: Frame) -> list[Item]:
    names = {f"branch{place}": function.name for place, function in enumerate(attr(node, "branches"))}
    return _branches(walk, node, items, names, tuple(range(len(names))))


def _branches(walk: Walk, node: NodeDef, items: list[Item], names: dict[str, str], codes: Sequence[int]) -> list[Item]:
    """The branches' nodes, then a node that reads the condition and every branch's results; only one branch where the
    condition is known.
    """
    condition = items[0].data
    if condition is not None:
        code = int(np.asarray(condition).ravel()[0]) if condition.size else 0
        place = codes.index(code) if code in codes else len(codes) - 1
        return walk.function(list(names.values())[place], items[1:], node)
    path = _path(walk, node)
    results = []
    for label, name in names.items():
        with _inside(walk, path, label):
            results.append(walk.function(name, items[1:], node))
    return _join(walk, node, "If", [items[0]], results, {})


def _path(walk: Walk, node: NodeDef) -> str:
    scope = walk.tape.path[-1]
    return f"{scope}.{node.name.rpartition('/')[2]}" if scope else node.name.rpartition("/")[2]


def _join(
    walk: Walk, node: NodeDef, op: str, given: list[Item], results: list[list[Item]], attrs: dict[str, Any]
) -> list[Item]:
    """One node for all results; results that are the same whatever happens pass by it."""
    operands = [item for item in (*given, *(item for branch in results for item in branch)) if item.dtype != RESOURCE]
    values = [walk.value(item) for item in operands]
    first = results[0]
    sizes = [item.size for item in first if item.dtype != RESOURCE] or [()]
    live = next(
        (item for branch in results for item in branch if item.dtype != RESOURCE and not walk.value(item).static), None
    )
    op_call = OpCall(op, node.name.rpartition("/")[2], [Operand(value, value.size) for value in values], attrs)
    index, _, static = walk.tape.emit(op_call, [live.size if live is not None else sizes[0]])
    joined = []
    for slot, item in enumerate(first):
        if item.dtype == RESOURCE:
            joined.append(item)
            continue
        options = [branch[slot] for branch in results]
        known = next((walk.value(option) for option in options if not walk.value(option).static), walk.value(item))
        joined.append(Item(item.size, item.dtype, value=Value(index, item.size, known.layout, static)))
    return joined


# --- loops


def _while(walk: Walk, node: NodeDef, items: list[Item], frame: Frame) -> list[Item]:
    """The body's nodes once, with the number of rounds where it is known, then one Loop node."""
    condition, body = _function_name(node, "cond"), _function_name(node, "body")
    same = invariants(walk.program.functions, body)
    trips = iterations(walk.program.functions, condition, body, items)
    if trips == 0:
        return items
    live = next((item for item in items if item.dtype != RESOURCE and not walk.value(item).static), None)
    carried = [item if slot in same else _carried(walk, item, live) for slot, item in enumerate(items)]
    begin = len(walk.tape.nodes)
    with _inside(walk, _path(walk, node), "body"):
        results = walk.function(body, carried, node)
    if trips is not None:
        walk.tape.scale_trips(begin, trips)
    changing = [slot for slot in range(len(items)) if slot not in same]
    given = [items[slot] for slot in changing if not walk.value(items[slot]).static]
    joined = _join(
        walk, node, "Loop", given, [[results[slot] for slot in changing]], {} if trips is None else {"trips": trips}
    )
    after = list(items)
    for slot, item in zip(changing, joined, strict=True):
        static = walk.value(results[slot]).static
        after[slot] = Item(item.size, item.dtype, value=walk.value(results[slot])) if static else item
    return after


def _carried(walk: Walk, item: Item, live: Item | None) -> Item:
    """A tensor that changes from round to round, as the body sees it: its value is not known, and it depends on what
    enters the loop.
    """
    if item.dtype == RESOURCE:
        return item
    value = walk.value(item)
    follows = item.dtype in FLOATING or item.dtype == VARIANT or bool(item.size)
    if value.static and live is not None and follows:
        before = walk.value(live)
        rank = len(item.size)
        place = 0 if rank and item.size[0] == walk.tape.batch else None
        layout = AxisLayout(rank - 1 if rank > 1 and item.dtype in FLOATING else None, place)
        shapes = (
            stored_shape(before.size, before.layout, walk.tape.batch),
            stored_shape(item.size, layout, walk.tape.batch),
        )
        node = walk.tape.add("Identity", "state", (before.node, value.node), shapes, shapes[1])
        value = Value(node, item.size, layout)
    return Item(item.size, item.dtype, value=value)


# --- lists of tensors: what a loop reads and writes, one element a round


def _list_from(walk: Walk, node: NodeDef, items: list[Item], frame: Frame) -> list[Item]:
    return [Item(items[0].size, VARIANT, value=walk.value(items[0]))]


def _list_reserve(walk: Walk, node: NodeDef, items: list[Item], frame: Frame) -> list[Item]:
    """An empty list; sizes of elements that are open are those of the batch."""
    if node.op == "EmptyTensorList":
        items = [items[0], Item((), items[1].dtype, np.asarray(0))]
    sizes = numbers(items[0], "element shape", node)
    return [Item((*numbers(items[1], "length", node), *(walk.tape.batch if n < 0 else n for n in sizes)), VARIANT)]


def _list_get(walk: Walk, node: NodeDef, items: list[Item], frame: Frame) -> list[Item]:
    size = items[0].size[1:]
    axes = {axis + 1: axis for axis in range(len(size))}
    [value] = walk.tape.apply("Slice", "element", [walk.value(items[0])], [size], axis_map=axes)
    return [Item(size, int(attr(node, "element_dtype")), value=value)]


def _list_set(walk: Walk, node: NodeDef, items: list[Item], frame: Frame) -> list[Item]:
    """The list with one element replaced: in canonical form that element, repeated."""
    element = items[2]
    size = (max(items[0].size[0], 1), *element.size)
    return [Item(size, VARIANT, value=_stacked(walk, "write", [element, items[0]], size))]


def _list_push(walk: Walk, node: NodeDef, items: list[Item], frame: Frame) -> list[Item]:
    size = (items[0].size[0] + 1, *items[1].size)
    return [Item(size, VARIANT, value=_stacked(walk, "push", [items[1], items[0]], size))]


def _stacked(walk: Walk, name: str, items: Sequence[Item], size: Size) -> Value:
    element = walk.value(items[0])
    axes = {axis: axis + 1 for axis in range(len(element.size))}
    values = [element, *(walk.value(item) for item in items[1:])]
    return walk.tape.apply("Expand", name, values, [size], axis_map=axes)[0]


def _list_stack(walk: Walk, node: NodeDef, items: list[Item], frame: Frame) -> list[Item]:
    value = walk.value(items[0])
    return [Item(value.size, int(attr(node, "element_dtype")), value=value)]


def _list_length(walk: Walk, node: NodeDef, items: list[Item], frame: Frame) -> list[Item]:
    return [Item((), INT32, np.asarray(items[0].size[0]))]


# --- loops of TensorFlow 1, and what has no result to speak of


def _pass(walk: Walk, node: NodeDef, items: list[Item], frame: Frame) -> list[Item]:
    """Enter, Exit, Switch ...: the tensor goes on; what a branch sees of a known value is no longer known."""
    item = Item(items[0].size, items[0].dtype, None, items[0].value, items[0].make, items[0].variable)
    return [item, item] if node.op in ("Switch", "RefSwitch") else [item]


def _exit(walk: Walk, node: NodeDef, items: list[Item], frame: Frame) -> list[Item]:
    """What a loop leaves behind: the last round's value; its body stands before it."""
    later = frame.results.get(round_after(node, frame.nodes))
    if not later or walk.value(later[0]).static:
        return _pass(walk, node, items, frame)
    given = [] if walk.value(items[0]).static else [items[0]]
    return _join(walk, node, "Loop", given, [later], {})


def _merge(walk: Walk, node: NodeDef, items: list[Item], frame: Frame) -> list[Item]:
    """The beginning of a round, if one operand comes from the round before; else the end of two branches."""
    if len(items) < len(data_inputs(node)):
        return [_carried(walk, items[0], walk.first), Item((), INT32)]
    return [*_join(walk, node, "If", [], [[item] for item in items], {}), Item((), INT32)]


class _inside:
    """Nodes of a body have the module path of the body."""

    def __init__(self, walk: Walk, path: str, label: str) -> None:
        self.walk, self.path, self.operator = walk, f"{path}.{label}", path

    def __enter__(self) -> None:
        self.walk.tape.path.append(self.path)
        self.walk.bodies.append((self.path, self.operator))

    def __exit__(self, *_: object) -> None:
        self.walk.tape.path.pop()
        self.walk.bodies.pop()


CONTROLS: dict[str, Control] = {
    "Const": _const, "Placeholder": _placeholder, **dict.fromkeys(("VarHandleOp", "Variable", "VariableV2"), _variable), "ReadVariableOp": _read,
    **dict.fromkeys(("PartitionedCall", "StatefulPartitionedCall", "RemoteCall"), _call),
    "If": _if, "StatelessIf": _if, "Case": _case, "StatelessCase": _case, "While": _while, "StatelessWhile": _while,
    "TensorListFromTensor": _list_from, "TensorListReserve": _list_reserve, "EmptyTensorList": _list_reserve, "TensorListGetItem": _list_get,
    "TensorListSetItem": _list_set, "TensorListPushBack": _list_push, "TensorListStack": _list_stack, "TensorListLength": _list_length,
    **dict.fromkeys(("Enter", "RefEnter", "NextIteration", "Switch", "RefSwitch", "LoopCond"), _pass),
    "Exit": _exit, "RefExit": _exit, "Merge": _merge, "RefMerge": _merge,
}  # fmt: skip
