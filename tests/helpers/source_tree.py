"""The project's source as Python's parser sees it: files, imports with how they are made, functions, circles."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("cgir", "frontends", "encoders", "contrastive", "search")
Function = ast.FunctionDef | ast.AsyncFunctionDef
SOURCES = sorted(path for folder in (*PACKAGES, "examples", "benchmarks") for path in (ROOT / folder).rglob("*.py"))


@dataclass(frozen=True)
class Import:
    """One name that a module imports: `target` is the module it comes from; `kind` is "top", "type" or "lazy"."""

    target: str
    line: int
    kind: str
    name: str
    alias: str | None
    is_module: bool  # the name is the module itself, not something that it defines


def module_name(path: Path) -> str:
    """`cgir/passes/__init__.py` -> `cgir.passes`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in SOURCES}


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file, parsed once."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> tuple[Import, ...]:
    """All imports of a file; of a package's module the module itself, of a name the module that defines it."""
    return tuple(_imports(path, parsed(path), "top"))


def _imports(path: Path, tree: ast.AST, kind: str) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ImportFrom):
            base = _absolute(path, node)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                is_module = inner in MODULES
                yield Import(inner if is_module else base, node.lineno, kind, alias.name, alias.asname, is_module)
        elif isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, kind, alias.name, alias.asname, True) for alias in node.names)
        elif isinstance(node, Function | ast.Lambda):
            yield from _imports(path, node, "lazy")
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from _imports(path, ast.Module(node.body, []), "type")
            yield from _imports(path, ast.Module(node.orelse, []), kind)
        else:
            yield from _imports(path, node, kind)


def _absolute(path: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    folder = path.relative_to(ROOT).parts[:-1]
    return ".".join([*folder[: len(folder) - node.level + 1], *([node.module] if node.module else [])])


def public_functions(path: Path) -> Iterator[tuple[Function, ast.ClassDef | None]]:
    """Functions and methods whose names, and whose classes' names, have no underscore; constructors too."""

    def walk(node: ast.AST, owner: ast.ClassDef | None) -> Iterator[tuple[Function, ast.ClassDef | None]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                yield from () if child.name.startswith("_") else walk(child, child)
            elif isinstance(child, Function):
                yield from [(child, owner)] if is_public(child) else ()
            elif isinstance(child, ast.stmt | ast.excepthandler):  # `if`, `try`, `with`
                yield from walk(child, owner)

    yield from walk(parsed(path), None)


def is_public(function: Function) -> bool:
    """By its name; of the overloads of one function only the implementation, which has the docstring."""
    overload = any("overload" in ast.unparse(decorator) for decorator in function.decorator_list)
    return not overload and (function.name == "__init__" or not function.name.startswith("_"))


def arguments(function: Function, owner: ast.ClassDef | None) -> list[str]:
    """Names of all arguments but `self` and `cls`."""
    found = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    found += [variable for variable in (function.args.vararg, function.args.kwarg) if variable is not None]
    static = any("staticmethod" in ast.unparse(decorator) for decorator in function.decorator_list)
    return [argument.arg for argument in (found if owner is None or static else found[1:])]


def with_packages(module: str, targets: set[str]) -> set[str]:
    """What is run when a module imports `targets`: they, and the `__init__` of each package around them.

    Packages around the module itself are left out: they are being imported already.
    """
    around = {target.rsplit(".", depth)[0] for target in targets for depth in range(target.count(".") + 1)}
    return targets | {package for package in around if not f"{module}.".startswith(f"{package}.")}


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one node (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []
    numbers = count()

    def visit(node: str) -> None:
        index[node] = low[node] = next(numbers)
        stack.append(node)
        for target in sorted(graph.get(node, ())):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            component = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(component) > 1:
                found.append(sorted(component))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found
