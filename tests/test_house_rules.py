"""What the design promises about the code itself: one-way imports, no circles, no framework in the core, short files.

The order of packages and rooms stands here and in CONTRIBUTING.md.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from source_tree import (
    MODULES,
    PACKAGES,
    ROOT,
    SOURCES,
    Function,
    arguments,
    circles,
    imports,
    module_name,
    parsed,
    public_functions,
    with_packages,
)

LAYERS = (*PACKAGES, "examples", "benchmarks", "tests")
FRAMEWORKS = {"torch", "onnx", "onnxruntime", "tensorflow", "keras", "torch_geometric"}

# Rooms of each package, lowest first: a module imports from its own row and from rows above it. A name stands for all
# modules below it that have no row of their own; an `__init__` hands on what is below.
ROOMS: dict[str, tuple[tuple[str, ...], ...]] = {
    "cgir": (
        ("cgir.errors", "cgir.typing", "cgir.atomic_files"),
        ("cgir",),
        ("cgir.passes", "cgir.analysis"),
        ("cgir.store", "cgir.drawing", "cgir.pages"),
        ("cgir.cli", "cgir.__main__"),
    ),
    "frontends": (
        ("frontends.common", "frontends.registry", "frontends.reference"),
        ("frontends.torch", "frontends.onnx", "frontends.tensorflow", "frontends.spaces"),
        ("frontends.keras", "frontends.tables"),
        ("frontends",),
    ),
    "encoders": (
        ("encoders.metrics", "encoders.engine", "encoders.training", "encoders.gaussian_process"),
        ("encoders.models",),
        ("encoders.features", "encoders.explain"),
        ("encoders.predictors",),
        ("encoders",),
    ),
    "contrastive": (
        ("contrastive",),
        ("contrastive.objectives",),
        ("contrastive.held_out", "contrastive.learnability", "contrastive.event_files"),
        ("contrastive.pretraining", "contrastive.episodes", "contrastive.transfer_protocol"),
        ("contrastive.corpus",),
    ),
    "search": (
        ("search.seeds", "search.child_main"),
        ("search.child_process", "search.objectives", "search.pareto", "search.log"),
        ("search.zero_cost", "search.workers", "search.candidates", "search.acquisition", "search.listed_space"),
        ("search.one_shot", "search.onnx_export", "search.onnx_files", "search.measured_latency"),
        ("search.report",),
        ("search.history",),
        ("search.ask_tell",),
        ("search.guides", "search.query_loop"),
        ("search.evolution", "search.baselines", "search.neighbours", "search.proxy_order"),
        ("search",),
    ),
}
RANK = {name: rank for rooms in ROOMS.values() for rank, row in enumerate(rooms) for name in row}
# Conveniences of `Graph`, the command line and `Predictor.rehearse`, which trains networks as a proxy does, may look
# up, inside functions; nothing else may.
LAZY_UPWARD = ("cgir/graph.py", "cgir/cli/", "encoders/predictors/predictor.py")
# Hands graphs to a framework: imported inside the method that does.
FRAMEWORK_INSIDE_FUNCTIONS = {"cgir/graph_batch.py"}
PICKLES = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}  # modules that run what they read
READS_PICKLES_SAFELY = "frontends/tables/safe_load/pickle_reader.py"  # benchmarks' files, and runs nothing of them
WRITES_HOSTILE_PICKLES = "benchmarks/fuzz/label_tables.py"
UNPICKLING = re.compile(r"\btorch\.load\(|\bread_pickle\(|allow_pickle\s*=\s*True")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def rank(module: str) -> int:
    """Of the longest name in `ROOMS` that the module is, or is below."""
    while module not in RANK:
        module = module.rpartition(".")[0]
    return RANK[module]


def is_upward(module: str, target: str) -> bool:
    package, other = module.partition(".")[0], target.partition(".")[0]
    if package == other:
        return package in ROOMS and rank(target) > rank(module)
    return LAYERS.index(other) > LAYERS.index(package) and (package, other) != ("examples", "benchmarks")


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_imports_go_one_way(path: Path) -> None:
    name, may_look_up = module_name(path), relative(path).startswith(LAZY_UPWARD)
    for found in imports(path):
        if found.target.partition(".")[0] not in LAYERS or (may_look_up and found.kind != "top"):
            continue
        if path.name == "__init__.py" and found.target.startswith(f"{name}."):
            continue  # a package hands on what is below it
        assert not is_upward(name, found.target), f"{relative(path)}:{found.line} imports {found.target}"


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_modules_keep_their_names_when_imported(path: Path) -> None:
    renamed = [
        f"line {found.line}: {found.target} as {found.alias}"
        for found in imports(path)
        if found.target in MODULES and found.is_module
        if found.alias not in (None, found.target.rpartition(".")[2])
    ]
    assert not renamed


def test_no_circles() -> None:
    """None at module level; none with imports inside functions and for types either, but through those that look up."""
    inner = {name: path for name, path in MODULES.items() if name.partition(".")[0] in PACKAGES}
    top = {
        name: with_packages(name, {i.target for i in imports(path) if i.kind == "top"} & set(inner))
        for name, path in inner.items()
    }
    assert circles(top) == []
    every = {
        name: {found.target for found in imports(path)} & set(inner)
        for name, path in inner.items()
        if not relative(path).startswith(LAZY_UPWARD)
    }
    assert circles(every) == []


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}) == [["b", "c"]]


def test_no_module_is_hidden_by_a_name_of_its_package() -> None:
    for name, path in MODULES.items():
        if path.name != "__init__.py":
            continue
        # submodules of the package itself may be handed on under their names
        defined = {i.alias or i.name for i in imports(path) if not (i.is_module and i.target == f"{name}.{i.name}")}
        defined |= {node.name for node in parsed(path).body if isinstance(node, Function | ast.ClassDef)}
        defined |= {
            node.id
            for statement in parsed(path).body
            if not isinstance(statement, Function | ast.ClassDef)
            for node in ast.walk(statement)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        hidden = {other for other in defined if f"{name}.{other}" in MODULES}
        assert not hidden, f"{relative(path)} hides its modules {hidden}"


def test_the_core_imports_no_framework() -> None:
    for path in (ROOT / "cgir").rglob("*.py"):
        lazily = relative(path) in FRAMEWORK_INSIDE_FUNCTIONS or relative(path).startswith("cgir/cli/")
        found = {i.target.partition(".")[0] for i in imports(path) if not (lazily and i.kind != "top")}
        assert not found & FRAMEWORKS, relative(path)


def test_importing_graphs_and_frontends_loads_no_framework() -> None:
    code = f"import sys, cgir, frontends; print([m for m in sys.modules if m in {sorted(FRAMEWORKS)}])"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_help_loads_no_framework() -> None:
    code = (
        "import sys, contextlib, io\nfrom cgir.__main__ import main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()): main(['--help'])\n"
        f"print([m for m in sys.modules if m in {sorted(FRAMEWORKS)}])"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_files_and_functions_are_short() -> None:
    lines = {relative(path): path.read_text(encoding="utf-8").count("\n") for path in SOURCES}
    assert max(lines.values()) <= 500, max(lines, key=lines.__getitem__)
    functions = [
        (node.end_lineno - node.lineno + 1, f"{relative(path)}:{node.lineno} {node.name}")
        for path in SOURCES
        for node in ast.walk(parsed(path))
        if isinstance(node, Function) and node.end_lineno is not None
    ]
    functions.sort()
    assert functions[-1][0] <= 75, functions[-1]
    assert functions[int(0.9 * len(functions))][0] <= 30


@pytest.mark.parametrize("path", [path for path in SOURCES if relative(path).startswith(PACKAGES)], ids=relative)
def test_public_functions_with_several_arguments_describe_each(path: Path) -> None:
    for function, owner in public_functions(path):
        names = arguments(function, owner)
        if len(names) < 3:
            continue
        text = ast.get_docstring(function) or ""
        if function.name == "__init__" and owner is not None:
            text += "\n\n" + (ast.get_docstring(owner) or "")
        section = re.search(r"^Args:\n((?:[ ]+.*\n|\n)+)", text + "\n", re.MULTILINE)
        where = f"{relative(path)}:{function.lineno} {function.name}"
        assert section, f"{where} has {len(names)} arguments and no Args: section"
        entries = " ".join(re.findall(r"^ {4}(\S[^:\n]*):", section[1], re.MULTILINE))  # what stands before the colons
        missing = [name for name in names if not re.search(rf"\b{re.escape(name)}\b", entries)]
        assert not missing, f"{where}: Args: lacks {', '.join(missing)}"


def test_first_lines_of_docstrings_are_one_line() -> None:
    for path in SOURCES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Module | ast.ClassDef | Function):
                first, _, rest = (ast.get_docstring(node) or "").partition("\n")
                name = getattr(node, "name", "module")
                assert not rest or not rest.partition("\n")[0].strip(), f"{relative(path)} {name}: {first}"


def test_tests_mirror_the_packages() -> None:
    for path in (ROOT / "tests").rglob("test_*.py"):
        folder = path.parent.relative_to(ROOT / "tests")
        assert (ROOT / folder).is_dir(), f"{relative(path)}: there is no folder {folder}"


def test_examples_stay_under_eighty_lines() -> None:
    for path in (ROOT / "examples").glob("*.py"):
        assert path.read_text(encoding="utf-8").count("\n") <= 80, path


def test_no_checkpoint_is_a_pickle() -> None:
    for path in SOURCES:
        if relative(path) not in (READS_PICKLES_SAFELY, WRITES_HOSTILE_PICKLES):
            assert not {found.target.partition(".")[0] for found in imports(path)} & PICKLES, path
        assert not any(found.target == "torch" and found.name == "load" for found in imports(path)), path
        assert not UNPICKLING.search(path.read_text(encoding="utf-8")), path


def test_every_folder_of_modules_is_a_package() -> None:
    """One without `__init__.py` works here and is missing in the wheel."""
    for path in SOURCES:
        assert not relative(path).startswith(PACKAGES) or (path.parent / "__init__.py").is_file(), path.parent


def test_every_package_ships_type_information() -> None:
    assert all((ROOT / package / "py.typed").is_file() for package in PACKAGES)


def test_versions_of_tools_agree() -> None:
    """pre-commit runs the ruff that `make lint` runs."""
    pinned = re.search(r"^ruff==(.+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    hooks = re.findall(r"ruff==([\d.]+)", (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert pinned
    assert set(hooks) == {pinned[1]}


def test_citation_has_the_version() -> None:
    import cgir

    assert f"version: {cgir.__version__}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_results_are_what_the_scripts_measured() -> None:
    from benchmarks.report import render

    assert (ROOT / "RESULTS.md").read_text(encoding="utf-8") == render()


def test_every_table_has_a_file_and_a_script_of_its_own() -> None:
    names = [
        node.args[0].value
        for path in SOURCES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "publish"
        if isinstance(node.args[0], ast.Constant)
    ]
    assert len(names) == len(set(names)), sorted(names)
    assert {path.stem for path in (ROOT / "benchmarks" / "results").glob("*.json")} == set(names)
