"""What the source of a network may say before it runs: its imports and names, read from its syntax tree.

Only what builds and runs a network is kept: imports, functions and classes that nothing uses go, and so do the bodies
of the methods that train it. The rest may import the modules in `MODULES`, and read no attribute that leads out of
them.
"""

from __future__ import annotations

import ast
import hashlib
from collections import Counter
from collections.abc import Iterator

from cgir import TraceError
from cgir.errors import printable

ALLOWED = """
    torch torch.amp torch.nn torch.nn.functional torch.nn.init torch.nn.parameter torch.optim torch.utils.checkpoint
    torchvision torchvision.models torchvision.models._api torchvision.models._utils torchvision.ops
    torchvision.ops.misc torchvision.ops.stochastic_depth
    abc collections collections.abc copy dataclasses einops enum functools gc itertools math numpy random re typing
"""
# Modules that these hold as attributes; what reads and writes files, runs code or compiles it; and ways to frames.
HIDDEN = """
    builtins cffi code codecs ctypes email ftplib glob http importlib imp inspect io linecache logging marshal
    multiprocessing nt os path pathlib pickle pkgutil platform posix pty resource runpy shutil signal site socket
    sqlite3 ssl subprocess sys sysconfig tempfile threading traceback urllib warnings weakref webbrowser zipfile
    classes compile cpp_extension datasets distributed dynamo export fx hub inductor jit library load load_library
    load_state_dict_from_url load_url onnx ops package popen save script serialization system
    ctypeslib distutils dump dumps f2py from_buffer from_file frombuffer fromfile fromregex genfromtxt lib loadtxt
    memmap open_memmap savetxt savez savez_compressed testing tofile DataSource
    ForwardRef get_objects get_referents get_referrers get_type_hints
    ag_frame cr_frame f_back f_builtins f_globals f_locals gi_code gi_frame tb_frame
    asyncio bltns contextlib copyreg mpmath operator optree sympy tokenize types unittest
    CodeType FunctionType LambdaType attrgetter create_fn eval_type evaluate evaluate_forward_ref methodcaller
    garbage register set_debug singledispatch singledispatchmethod update_wrapper wraps
"""
MODULES, ATTRIBUTES = frozenset(ALLOWED.split()), frozenset(HIDDEN.split())
NAMES = frozenset(("breakpoint", "compile", "delattr", "eval", "exec", "globals", "locals", "open", "vars"))
SPECIAL = ("__init__", "__call__", "__class__", "__getitem__", "__iter__", "__len__", "__name__", "__repr__")
NETWORK = "Net"  # the class
TRAINING = ("learn", "train_setup")  # methods that no graph needs
BY_NAME = ("getattr", "setattr", "hasattr")
LONGEST = 1 << 20  # characters of a source


def checked_tree(source: str, name: str) -> ast.Module:
    """The syntax tree of a source without what is not needed.

    Args:
        source: of a module.
        name: of it, for messages.

    Raises:
        TraceError: it is no Python, or says what a network has no need to say; the message names the line.
    """
    if len(source) > LONGEST:
        raise TraceError(f"{name}: {len(source):,} characters, expected at most {LONGEST:,}")
    try:
        tree = ast.parse(source)
        _without_training(tree)
        _without_unused(tree)
        for line, problem in _problems(tree):
            raise TraceError(f"{name}: line {line} {printable(problem, 100)}, which no network needs; it is not run")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, TraceError):
            raise
        raise TraceError(f"{name}: no Python source ({type(error).__name__}: {printable(error, 100)})") from None
    return tree


def is_hidden(name: str) -> bool:
    """Whether an attribute leads out of the modules that are allowed, under whatever private name it stands there."""
    return _is_special(name) or name.lstrip("_") in ATTRIBUTES or name == "_C"


def source_key(source: str, name: str) -> str:
    """A digest of what is kept of a source: equal sources build equal networks.

    Raises:
        TraceError: as `checked_tree`.
    """
    return hashlib.sha256(ast.dump(checked_tree(source, name)).encode()).hexdigest()


def _without_training(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name in TRAINING:
            node.body = [ast.Pass(lineno=node.lineno, col_offset=0)]
            node.decorator_list = []


def _without_unused(tree: ast.Module) -> None:
    """Leave out imports, functions and classes at module level whose names do not occur, until all others do."""
    count = -1
    while count != len(tree.body):
        count = len(tree.body)
        uses = _names(tree)
        tree.body = [statement for statement in tree.body if _is_used(statement, uses)]


def _names(tree: ast.AST) -> Counter[str]:
    return Counter(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))


def _is_used(statement: ast.stmt, uses: Counter[str]) -> bool:
    if isinstance(statement, ast.Import | ast.ImportFrom):
        statement.names = [alias for alias in statement.names if alias.name == "*" or uses[_bound(alias)]]
        return bool(statement.names)
    if isinstance(statement, ast.FunctionDef | ast.ClassDef) and statement.name != NETWORK:
        own = _names(statement)[statement.name]  # a function that calls itself, and nobody else does
        return bool(statement.decorator_list) or uses[statement.name] > own
    return True


def _bound(alias: ast.alias) -> str:
    return alias.asname or alias.name.partition(".")[0]


def _problems(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and description of what is not allowed."""
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((node.lineno, problem) for problem in _import_problems(node))
        elif isinstance(node, ast.Attribute) and is_hidden(node.attr):
            yield node.lineno, f"reads .{node.attr}"
        elif isinstance(node, ast.Name) and (node.id in NAMES or _is_special(node.id)):
            yield node.lineno, f"uses {node.id}"
        elif isinstance(node, ast.Name) and node.id in BY_NAME and id(node) not in called:
            yield node.lineno, f"passes {node.id} on"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BY_NAME:
            yield from ((node.lineno, problem) for problem in _by_name_problems(node))
        elif isinstance(node, ast.MatchClass) and any(map(is_hidden, node.kwd_attrs)):
            yield node.lineno, f"matches {', '.join(node.kwd_attrs)}"
        elif isinstance(node, ast.MatchClass) and node.patterns:  # a class may say which attributes these are
            yield node.lineno, "matches attributes by their positions"


def _import_problems(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (f"imports {alias.name}" for alias in node.names if alias.name not in MODULES)
        return
    module = "." * node.level + (node.module or "")
    if module not in MODULES and module != "__future__":
        yield f"imports from {module}"
        return
    for alias in node.names:
        if alias.name == "*" or (is_hidden(alias.name) and f"{module}.{alias.name}" not in MODULES):
            yield f"imports {alias.name} from {module}"


def _by_name_problems(call: ast.Call) -> Iterator[str]:
    """`getattr(x, "name")` is `x.name`; a network may set attributes of its own by any name."""
    assert isinstance(call.func, ast.Name)
    name = call.args[1] if len(call.args) > 1 else None
    if isinstance(name, ast.Constant) and isinstance(name.value, str):
        if is_hidden(name.value):
            yield f"reads .{name.value}"
    elif not (isinstance(call.args[0] if call.args else None, ast.Name) and ast.unparse(call.args[0]) == "self"):
        yield f"calls {call.func.id} with a name that is computed"


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__") and name not in SPECIAL
