"""Shadows of modules: the same tensors and code in objects of their own, so that running them changes no module.

A module may be called in other threads while it is traced, and its forward may write to it. So no hook is put on it and
nothing of it is restored: a shadow of it runs. Functions, bound methods, partial and cached functions, weak references,
containers and plain objects that lead to a module of the tree lead to its shadow there.
"""

from __future__ import annotations

import functools
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)

LEAVES = frozenset(
    (
        *(int, float, complex, str, bytes, bool, type(None), type(Ellipsis), type, range, slice),
        *(ModuleType, BuiltinFunctionType, torch.dtype, torch.device, torch.Size, Tensor, nn.Parameter),
    )
)
DICTS, SEQUENCES = (dict, OrderedDict, defaultdict), (list, tuple, set, frozenset, deque)
PLAIN = frozenset((list, dict, OrderedDict, set))
CONTAINERS = (list, dict, set)
CACHED = type(functools.lru_cache(len))
# Of each module, nearly always empty, and read by the number of a hook or not at all while modules run.
_REGISTRIES = (
    "_backward_hooks _backward_pre_hooks _forward_hooks_always_called _forward_hooks_with_kwargs "
    "_forward_pre_hooks_with_kwargs _load_state_dict_post_hooks _load_state_dict_pre_hooks _non_persistent_buffers_set "
    "_state_dict_hooks _state_dict_pre_hooks"
)
REGISTRIES = frozenset(_REGISTRIES.split())
MAX_DEPTH = 20  # containers, functions and objects inside each other that are followed from a module


def shadow_of(model: M) -> M:
    """A module with the model's tensors, attributes and hooks, whose own state is apart: attributes, lists, dicts.

    Weights are neither read nor copied. What the model calls by a global name is called itself.
    """
    shadow: M = _Shadows().tree(model)
    return shadow


def named_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Modules by path, each once, in the order of `nn.Module.named_modules`; without its limit of depth."""
    found: dict[str, nn.Module] = {}
    seen: set[int] = set()
    waiting = [("", model)]
    while waiting:
        path, module = waiting.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        found[path] = module
        inner = [(f"{path}.{name}" if path else name, part) for name, part in list(module._modules.items())]
        waiting.extend((name, part) for name, part in reversed(inner) if part is not None)
    return found


def named_tensors(modules: dict[str, nn.Module], kind: str) -> Iterator[tuple[str, Tensor]]:
    """Parameters ("_parameters") or buffers ("_buffers") of modules by path, each once."""
    seen: set[int] = set()
    for path, module in modules.items():
        for name, tensor in vars(module)[kind].items():
            if tensor is not None and id(tensor) not in seen:
                seen.add(id(tensor))
                yield f"{path}.{name}" if path else name, tensor


class _Shadows:
    """One call of `shadow_of`: what has a shadow, by identity, and attributes that still lead to originals."""

    def __init__(self) -> None:
        self._shadows: dict[int, Any] = {}  # identity of an original -> its shadow, or itself where it stays
        self._originals: list[Any] = []  # kept, so that no other object gets an identity
        self._unread: list[dict[str, Any]] = []  # attributes of new shadows
        self._empty: dict[type, Any] = {}  # registries that a forward leaves empty

    def tree(self, model: nn.Module) -> Any:
        """The shadow of a module, complete."""
        for module in named_modules(model).values():  # first all of them: references lead to their shadows then
            self._module(module)
        shadow = self._module(model)
        while self._unread:
            attributes = self._unread.pop()
            for name, value in attributes.items():  # their names stay
                if type(value) in LEAVES:
                    continue
                if isinstance(value, CONTAINERS):
                    if value:
                        self._read_inside(value)
                else:
                    attributes[name] = self._of(value, 0)
        return shadow

    def _keep(self, original: Any, shadow: Any) -> Any:
        self._shadows[id(original)] = shadow
        self._originals.append(original)
        return shadow

    def _module(self, module: nn.Module) -> Any:
        """The shadow of a module, whose attributes are read later: modules may be nested deeply."""
        if id(module) in self._shadows:
            return self._shadows[id(module)]
        try:
            shadow = object.__new__(type(module))
        except TypeError:  # also a class of C, such as a dict
            return self._keep(module, module)
        self._keep(module, shadow)
        attributes = vars(module).copy()
        for name, value in attributes.items():
            if type(value) in PLAIN and not value and name in REGISTRIES:
                attributes[name] = self._empty.setdefault(type(value), type(value)())
            elif isinstance(value, CONTAINERS):  # what a forward may write to
                attributes[name] = self._keep(value, _copied(value))
        if "_compiled_call_impl" in attributes:
            attributes["_compiled_call_impl"] = None  # runs as it was written
        for name in _slots(type(module)):
            if (value := getattr(module, name, self)) is not self:
                object.__setattr__(shadow, name, value)
        object.__setattr__(shadow, "__dict__", attributes)
        self._unread.append(attributes)
        return shadow

    def _read_inside(self, container: Any) -> None:
        """Let a container of a shadow lead to shadows."""
        if not container:
            return
        if isinstance(container, set):
            changed = {self._of(item, 0) for item in container}
            if any(item not in container for item in changed):
                container.clear()
                container.update(changed)
            return
        items = list(container.items()) if isinstance(container, dict) else list(enumerate(container))
        for key, value in items:
            if type(value) not in LEAVES and (new := self._of(value, 0)) is not value:
                container[key] = new
        if isinstance(container, dict) and any(isinstance(key, nn.Module) for key in container):
            changed_keys = [(self._of(key, 0), value) for key, value in container.items()]
            container.clear()
            container.update(changed_keys)

    def _of(self, item: Any, depth: int) -> Any:
        """What stands for an item in a shadow: the item itself where it leads to no module."""
        kind = type(item)
        if kind in LEAVES or issubclass(kind, Tensor | type):
            return item
        if id(item) in self._shadows:
            return self._shadows[id(item)]
        if issubclass(kind, nn.Module):
            return self._module(item)
        if depth > MAX_DEPTH:
            return item
        self._keep(item, item)  # for what leads to itself
        return self._keep(item, self._composite(item, depth + 1))

    def _composite(self, item: Any, depth: int) -> Any:
        kind = type(item)
        if kind is FunctionType:
            return self._function(item, depth)
        if kind is MethodType:
            owner = self._of(item.__self__, depth)
            function = self._of(item.__func__, depth)
            same = owner is item.__self__ and function is item.__func__
            return item if same else MethodType(function, owner)
        if kind is weakref.ref:
            target = item()
            shadow = target if target is None else self._shadows.get(id(target), target)
            return item if shadow is target else weakref.ref(shadow)
        if kind is functools.partial:
            parts = self._items([item.func, item.args, item.keywords], depth)
            return item if parts is None else functools.partial(parts[0], *parts[1], **parts[2])
        if kind is CACHED:
            function = self._of(item.__wrapped__, depth)
            return item if function is item.__wrapped__ else functools.lru_cache(**item.cache_parameters())(function)
        if kind in DICTS:
            values = self._items(item.values(), depth)
            if values is None:
                return item
            result = item.copy()
            result.update(zip(item, values, strict=True))
            return result
        if kind in SEQUENCES or (issubclass(kind, tuple) and hasattr(kind, "_fields")):
            parts = self._items(item, depth)
            return item if parts is None else kind(*parts) if hasattr(kind, "_fields") else kind(parts)
        return self._object(item, depth)

    def _items(self, items: Iterable[Any], depth: int) -> list[Any] | None:
        """The items of a container in a shadow; None where they stay."""
        items = list(items)
        if LEAVES.issuperset(map(type, items)):
            return None
        changed = [self._of(item, depth) for item in items]
        return None if all(new is old for new, old in zip(changed, items, strict=True)) else changed

    def _function(self, function: FunctionType, depth: int) -> FunctionType:
        """A function whose closure and defaults lead to shadows."""
        cells = function.__closure__ or ()
        filled = [cell for cell in cells if _is_filled(cell)]
        contents = self._items([cell.cell_contents for cell in filled], depth)
        defaults = self._items([function.__defaults__, function.__kwdefaults__, vars(function)], depth)
        if contents is None and defaults is None:
            return function
        new = {id(cell): CellType(value) for cell, value in zip(filled, contents or (), strict=False)}
        closure = tuple(new.get(id(cell), cell) for cell in cells)
        attributes: list[Any] = defaults or [function.__defaults__, function.__kwdefaults__, vars(function)]
        name = function.__name__
        result = FunctionType(function.__code__, function.__globals__, name, attributes[0], closure or None)
        result.__kwdefaults__ = attributes[1]
        result.__qualname__, result.__module__ = function.__qualname__, function.__module__
        vars(result).update(attributes[2])
        return result

    def _object(self, item: Any, depth: int) -> Any:
        """A plain object with attributes that lead to shadows."""
        attributes = getattr(item, "__dict__", None)
        if type(attributes) is not dict or not attributes:
            return item
        values = self._items(attributes.values(), depth)
        if values is None:
            return item
        try:
            result = object.__new__(type(item))
            for name in _slots(type(item)):
                if (value := getattr(item, name, self)) is not self:
                    object.__setattr__(result, name, value)
        except (TypeError, AttributeError):
            return item
        vars(result).update(zip(attributes, values, strict=True))
        return result


def _is_filled(cell: CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _slots(kind: type) -> Iterator[str]:
    for base in kind.__mro__:
        names = base.__dict__.get("__slots__", ())
        yield from (name for name in ([names] if isinstance(names, str) else names) if not name.startswith("__"))


def _copied(container: Any) -> Any:
    """A shallow copy; of a class of its own by that class, where it can be copied."""
    if type(container) in PLAIN:
        return container.copy()
    try:
        kind: Any = type(container)
        result = kind.__new__(kind)
        if isinstance(container, defaultdict):
            result.default_factory = container.default_factory
        if hasattr(result, "__dict__"):
            vars(result).update(vars(container))
        base: Any = next(base for base in (OrderedDict, dict, list, set) if isinstance(container, base))
        (base.extend if base is list else base.update)(result, container)
    except Exception:  # its own code refuses
        return container
    return result
