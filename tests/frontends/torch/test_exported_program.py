"""`torch.export`: programs and `.pt2` files give the graph that tracing their module gives."""

from __future__ import annotations

import copy
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._higher_order_ops import scan, while_loop
from torch.export import Dim, ExportedProgram
from torch_networks import NETWORKS, build, meta, sequential_transformer
from torch_samples import Function

import cgir
import frontends
from cgir.limits import Limits
from frontends.reference import resnet50


def export(model: nn.Module, inputs: tuple[Any, ...], **options: Any) -> ExportedProgram:
    """`torch.export.export`, which warns of what it does to modules."""
    real = tuple(
        torch.zeros(x.shape, dtype=x.dtype) if isinstance(x, Tensor) and not next(model.parameters(), x).is_meta else x
        for x in inputs
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(model, real, **options)


def save(program: ExportedProgram, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, path)
    return path


def decompose(program: ExportedProgram, *table: Any) -> ExportedProgram:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return program.run_decompositions(*table)


def check(program: ExportedProgram | Path, expected: cgir.Graph) -> None:
    graph = frontends.trace(program)
    cgir.verify(graph)
    assert cgir.isomorphic(graph, expected), cgir.diff(expected, graph)
    assert (graph.num_params, graph.flops) == (expected.num_params, expected.flops)
    assert {param.id for node in graph.nodes for param in node.params} == {
        param.id for node in expected.nodes for param in node.params
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_programs_give_the_modules_graph(name: str, tmp_path: Path) -> None:
    model, inputs = build(name)
    expected = frontends.trace(model.eval(), inputs)
    program = export(model, inputs, strict=False)
    check(program, expected)
    assert {node.module for node in frontends.trace(program).nodes} == {node.module for node in expected.nodes}
    check(save(program, tmp_path / "model.pt2"), expected)
    check(decompose(program, {}), expected)


@pytest.mark.parametrize("name", ["shared blocks", "unet", "lstm", "transformer", "tied language model"])
def test_strict_export_and_training_mode(name: str) -> None:
    model, inputs = build(name)
    check(export(model.eval(), inputs, strict=True), frontends.trace(model, inputs))
    check(export(model.train(), inputs, strict=False), frontends.trace(model, inputs))


@pytest.mark.parametrize("name", ["shared blocks", "densenet", "unet"])
def test_default_decompositions(name: str) -> None:
    model, inputs = build(name)
    check(decompose(export(model.eval(), inputs)), frontends.trace(model, inputs))


def test_weights_are_not_needed(tmp_path: Path) -> None:
    with torch.device("meta"):
        model = resnet50().eval()
    expected = frontends.trace(model, input_shape=(1, 3, 64, 64))
    program = export(model, (meta(1, 3, 64, 64),), strict=False)
    check(program, expected)
    check(save(program, tmp_path / "resnet.pt2"), expected)
    assert frontends.trace(tmp_path / "resnet.pt2").name == "resnet"
    assert frontends.trace(program, name="mine").name == "mine"


def test_decomposed_group_norm_and_attention() -> None:
    model = nn.Sequential(nn.Conv2d(4, 8, 3), nn.GroupNorm(2, 8)).eval()
    check(decompose(export(model, (meta(1, 4, 8, 8),))), frontends.trace(model, input_shape=(1, 4, 8, 8)))
    attention = Function(lambda m, q: torch.nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True))
    check(
        decompose(export(attention, (torch.zeros(1, 2, 8, 16),)), {}),
        frontends.trace(attention, input_shape=(1, 2, 8, 16)),
    )


# --- inputs and outputs


class Many(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("scale", torch.tensor(3.0))
        self.register_buffer("steps", torch.tensor(0))
        self.unused = nn.Linear(2, 2)

    def forward(self, x: Tensor, factor: int, more: dict[str, Tensor], flag: bool = False) -> dict[str, Any]:
        self.steps += 1
        y = self.linear(x) * factor * self.scale + torch.tensor([1.0, 2.0, 3.0, 4.0])
        with torch.no_grad():
            y = y.relu() if flag else y.tanh()
        x.add_(1)
        return {"sum": y + more["y"], "parts": y.split(2, -1), "none": None, "number": 7}


@pytest.mark.parametrize("strict", [False, True])
def test_constants_nested_values_and_mutations(strict: bool, tmp_path: Path) -> None:
    inputs = (torch.zeros(2, 4), 2, {"y": torch.zeros(2, 4)}, True)
    raw = frontends.trace(Many(), inputs, raw=True)
    program = export(Many(), inputs, strict=strict)
    for found in (program, decompose(program, {}), save(program, tmp_path / "many.pt2")):
        graph = frontends.trace(found, raw=True)
        assert graph.num_params == raw.num_params == 20
        assert [node.shape for node in graph.nodes if node.op == "Input"] == [(4,), (4,)]
        assert sum(node.op == "Output" for node in graph.nodes) == 3
        check(found, cgir.canonicalize(raw))
    # strict export drops what nothing reads
    assert dict(frontends.trace(program, raw=True).notes) in ({"unused parameters": 6}, {})


def test_open_dimensions() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1)).eval()
    options: dict[str, Any] = {"dynamic_shapes": ({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC},), "strict": False}
    program = export(model, (torch.zeros(2, 3, 8, 12),), **options)
    check(program, frontends.trace(model, input_shape=(2, 3, 8, 12)))
    larger = frontends.trace(model, input_shape=(1, 3, 10, 16))
    assert cgir.isomorphic(frontends.trace(program, input_shape=(5, 3, 10, 16)), larger)
    assert cgir.isomorphic(frontends.trace(program, meta(5, 3, 10, 16)), larger)
    symbols = [
        str(size) for size in next(node for node in program.graph.nodes if node.name == "input").meta["val"].shape
    ]
    assert cgir.isomorphic(frontends.trace(program, dims={symbols[2]: 10, symbols[3]: 16}), larger)
    with pytest.raises(cgir.TraceError, match=r"'input' was exported with shape \(s\d+, 3, .*found \(1, 4, 8, 8\)"):
        frontends.trace(program, input_shape=(1, 4, 8, 8))
    with pytest.raises(cgir.TraceError, match=r"takes 1 tensors \(input\), found 2"):
        frontends.trace(program, input_shape=((1, 3, 8, 8), (1, 3, 8, 8)))


def test_open_dimensions_in_files(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv1d(3, 4, 3), nn.Flatten(), nn.LayerNorm(40)).eval()
    program = export(model, (torch.zeros(2, 3, 12),), dynamic_shapes=({0: Dim.DYNAMIC},))
    path = save(program, tmp_path / "open.pt2")
    check(path, frontends.trace(model, input_shape=(2, 3, 12)))
    assert cgir.isomorphic(
        frontends.trace(path, input_shape=(7, 3, 12)), frontends.trace(model, input_shape=(2, 3, 12))
    )


@pytest.mark.parametrize("first", [False, True])
def test_where_the_batch_is(first: bool) -> None:
    for model in (sequential_transformer(batch_first=first), nn.LSTM(16, 8, batch_first=first)):
        inputs = (torch.zeros(3, 3, 16),)  # equal sizes: nothing but the modules says which axis is the batch
        check(export(model.eval(), inputs), frontends.trace(model, inputs))


# --- control flow


class Branches(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.first, self.second = kind, nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Any:
        if self.kind == "cond":
            return torch.cond(x.sum() > 0, lambda x: self.first(x), lambda x: self.second(x).relu(), (x,))
        if self.kind == "scan":
            carry, steps = scan(lambda c, x: (self.first(c + x), x * 2), x[0], x, dim=0)
            return carry, steps.sum(0)
        return while_loop(lambda i, x: i < 5, lambda i, x: (i + 1, self.second(x)), (torch.tensor(0), x))[1]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("kind", ["cond", "scan", "while"])
def test_control_flow(kind: str, strict: bool, tmp_path: Path) -> None:
    model = Branches(kind)
    expected = frontends.trace(model, torch.zeros(3, 4))
    program = export(model, (torch.zeros(3, 4),), strict=strict)
    check(program, expected)
    check(save(program, tmp_path / "branches.pt2"), expected)
    counts = expected.op_counts()
    if kind == "cond":
        assert (counts["If"], counts["Linear"], expected.flops) == (1, 2, 2 * 2 * 4 * 4)
    elif kind == "scan":  # three steps over the first axis
        assert (counts["Loop"], counts["Linear"], expected.flops) == (1, 1, 3 * 2 * 4 * 4)
    else:
        assert (counts["Loop"], counts["Linear"], expected.flops) == (1, 1, 5 * 2 * 4 * 4)
        assert expected.num_params == 20


# --- files from elsewhere


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = Function(
        lambda m, x: torch.cond(x.sum() > 0, lambda x: m.a(x), lambda x: x * 2, (x,)).split(2, -1), a=nn.Linear(4, 4)
    )
    program = export(model, (torch.zeros(3, 4),), dynamic_shapes=(({0: Dim.DYNAMIC},),))
    return save(program, tmp_path_factory.mktemp("pt2") / "model.pt2")


def rewritten(
    archive: Path, path: Path, change: Callable[[dict[str, Any]], Any] = lambda model: None, **members: bytes
) -> Path:
    """A copy with other JSON, or other members by the end of their name."""
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(path, "w") as target:
        for info in source.infolist():
            content = source.read(info)
            if "/models/" in info.filename:
                model = json.loads(content)
                change(model)
                content = json.dumps(model).encode()
            for end, other in members.items():
                content = other if info.filename.partition("/")[2].startswith(end) else content
            target.writestr(info.filename, content)
    return path


def test_pickles_in_archives_are_never_loaded(archive: Path, tmp_path: Path) -> None:
    mark = tmp_path / "pickle_was_loaded"
    bomb = b"cpathlib\nPath.touch\n(cpathlib\nPath\n(V" + str(mark).encode() + b"\ntRtR."
    path = rewritten(
        archive,
        tmp_path / "model.pt2",
        **{"data/sample_inputs": bomb, "data/constants/custom_obj_0": bomb, "data/weights/weight": bomb},
    )
    assert cgir.isomorphic(frontends.trace(path), frontends.trace(archive))
    assert not mark.exists()


def test_sizes_that_overflow_are_refused(archive: Path, tmp_path: Path) -> None:
    """PyTorch counts the bytes of a tensor in 64 bits, of an empty one too."""
    for sizes in ([2**63 - 1, 4], [0, 2**62, 2**62]):

        def change(model: dict[str, Any], sizes: list[int] = sizes) -> None:
            for value in model["graph_module"]["graph"]["tensor_values"].values():
                value["sizes"] = [{"as_int": n} for n in sizes]
                value["strides"] = [{"as_int": 1} for _ in sizes]

        with pytest.raises(cgir.TraceError, match="more bytes than PyTorch can count"):
            frontends.trace(rewritten(archive, tmp_path / "model.pt2", change))


def test_expressions_in_archives_are_never_evaluated(archive: Path, tmp_path: Path) -> None:
    mark = tmp_path / "expression_was_evaluated"

    def change(model: dict[str, Any]) -> None:
        for size in model["graph_module"]["graph"]["tensor_values"].values():
            for part in size["sizes"]:
                if "as_expr" in part:
                    part["as_expr"]["expr_str"] = f"__import__('pathlib').Path({str(mark)!r}).touch()"

    assert cgir.isomorphic(
        frontends.trace(rewritten(archive, tmp_path / "model.pt2", change)), frontends.trace(archive)
    )
    assert not mark.exists()


@pytest.mark.parametrize(
    "target",
    [
        "torch.ops.aten.from_file.default",
        "os.system",
        "torch.load",
        "torch.ops.c10d.send.default",
        "torch.ops.nothing.here.default",
    ],
)
def test_only_operators_can_be_named(target: str, archive: Path, tmp_path: Path) -> None:
    path = rewritten(
        archive, tmp_path / "model.pt2", lambda model: model["graph_module"]["graph"]["nodes"][0].update(target=target)
    )
    with pytest.raises(cgir.TraceError, match=rf"model\.pt2: the program calls '{target}', which is no operator"):
        frontends.trace(path)


def test_constants_of_any_size_are_refused_or_left_empty(archive: Path, tmp_path: Path) -> None:
    def change(model: dict[str, Any]) -> None:
        size = {"name": "size", "arg": {"as_ints": [1 << 20, 1 << 20]}, "kind": 1}
        node = {
            "target": "torch.ops.aten.ones.default",
            "inputs": [size],
            "outputs": [{"as_tensor": {"name": "large"}}],
            "metadata": {},
            "name": "large",
        }
        model["graph_module"]["graph"]["nodes"].insert(0, node)

    assert cgir.isomorphic(
        frontends.trace(rewritten(archive, tmp_path / "model.pt2", change)), frontends.trace(archive)
    )


def test_damaged_and_foreign_files(archive: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    for content, message in (
        (archive.read_bytes()[:999], "not a .pt2 archive"),
        (b"text", "not a .pt2 archive"),
        (b"", "the file is empty"),
    ):
        path.write_bytes(content)
        with pytest.raises(cgir.TraceError, match=rf"model\.pt2: {message}"):
            frontends.trace(path)
    with zipfile.ZipFile(path, "w") as empty:
        empty.writestr("other/file.txt", "")
    with pytest.raises(cgir.TraceError, match="found none; save one program"):
        frontends.trace(path)
    rewritten(archive, path, lambda model: model.update(schema_version={"major": 5, "minor": 1}))
    with pytest.raises(cgir.TraceError, match="written in schema 5"):
        frontends.trace(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("m/models/model.json", b"[" * 10_000_000)
    with pytest.raises(cgir.LimitError, match=r"model\.json in the archive"):
        frontends.trace(path, limits=Limits(bytes=1 << 20))
    with zipfile.ZipFile(path, "w") as deep:
        deep.writestr("m/models/model.json", b"[" * 100_000)
    with pytest.raises(cgir.TraceError, match="nested too deeply"):
        frontends.trace(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_change_gives_a_graph_or_one_clear_line(archive: Path, tmp_path: Path, data: st.DataObject) -> None:
    def change(model: dict[str, Any]) -> None:
        item: Any = model["graph_module"]
        while True:
            key = data.draw(st.sampled_from(sorted(item) if isinstance(item, dict) else range(len(item))))
            if not isinstance(item[key], dict | list) or not item[key] or data.draw(st.integers(0, 9)) == 0:
                break
            item = item[key]
        item[key] = data.draw(
            st.sampled_from([None, -1, 10**20, "", "x", [], {}, {"as_int": 1}, True, copy.deepcopy(item)])
        )

    path = rewritten(archive, tmp_path / "model.pt2", change)
    message = "model"
    try:
        cgir.verify(frontends.trace(path))
    except cgir.TraceError as error:
        message = str(error)
    assert "model" in message
    assert "\n" not in message


@pytest.mark.parametrize("number", [-3, 200, 10**6])
def test_types_of_elements_are_no_numbers(number: int) -> None:
    """PyTorch's own code reads beyond its table of types."""

    class Softmax(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.softmax(x, -1, dtype=torch.float64)

    program = torch.export.export(Softmax(), (torch.zeros(2, 3),))
    (node,) = (node for node in program.graph.nodes if node.op == "call_function")
    node.args, node.kwargs = (*node.args[:2], number), {}
    with pytest.raises(cgir.TraceError, match=r"argument dtype is .*, expected a torch\.dtype"):
        frontends.trace(program)
