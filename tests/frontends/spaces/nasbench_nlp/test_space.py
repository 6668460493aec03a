"""NAS-Bench-NLP: recipes, published parameter counts of every row, one loop per layer, what a step computes."""

from __future__ import annotations

import gzip
import json
import os
import warnings
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from space_checks import check_traces, trace
from torch import Tensor
from tqdm import tqdm

import cgir
import frontends
from frontends import spaces
from frontends.spaces.nasbench_nlp.recipes import Node, Recipe, can_be_sampled, find_problem

RNN = '{"f":{"op":"linear","input":["x","h_prev_0"]},"h_new_0":{"op":"activation_tanh","input":["f"]}}'
GRU = (
    '{"r":{"op":"linear","input":["x","h_prev_0"]},"r_act":{"op":"activation_sigm","input":["r"]},"z":{"op":"linear",'
    '"input":["x","h_prev_0"]},'
    '"z_act":{"op":"activation_sigm","input":["z"]},"rh":{"op":"elementwise_prod","input":["r_act","h_prev_0"]},'
    '"h_tilde":{"op":"linear","input":["x","rh"]},"h_tilde_act":{"op":"activation_tanh","input":["h_tilde"]},'
    '"h_new_0":{"op":"blend","input":["z_act","h_prev_0","h_tilde_act"]}}'
)
SMALL: dict[str, Any] = {"vocabulary": 20, "embedding": 6, "hidden": 8, "layers": 2, "steps": 3}


@cache
def table() -> list[dict[str, Any]]:
    folder = os.environ.get("CGIR_DATA")
    if not folder:
        pytest.skip("needs the label tables: set CGIR_DATA")
    with gzip.open(Path(folder) / "nasbench_nlp.jsonl.gz", "rt") as file:
        return [json.loads(line) for line in file]


@cache
def specs() -> list[Recipe]:
    space = spaces.get("nasbench_nlp")
    return [space.parse(json.dumps(row["recipe"])) for row in table()]


def text_of(row: dict[str, Any]) -> str:
    return json.dumps(row["recipe"], separators=(",", ":"))


def recipe_of(**nodes: tuple[str, str]) -> str:
    """`name=(operator, inputs separated by spaces)` as JSON."""
    return json.dumps({name: {"op": op, "input": inputs.split()} for name, (op, inputs) in nodes.items()})


BAD = (
    ("", "is no JSON"),
    ("[1]", "is no recipe"),
    ("{}", "is no recipe"),
    ("[" * 100_000, "is no JSON"),
    ('{"a":1}', "node 'a' is not of the form"),
    ('{"a":{"op":"linear"}}', "node 'a' is not of the form"),
    ('{"a":{"op":"linear","op":"blend","input":[]}}', "node 'a' is not of the form"),
    ('{"a":{"op":"linear","input":"x"}}', "node 'a' is not made of strings"),
    ('{"a":{"op":["linear"],"input":["x"]}}', "node 'a' is not made of strings"),
    (recipe_of(h_new_0=("conv", "x h_prev_0")), "node 'h_new_0' has operator 'conv'"),
    (
        recipe_of(f=("linear", "x h_prev_0"), h_new_0=("activation_tanh", "g")),
        "node 'h_new_0' reads 'g'; expected another node, x, h_prev_0",
    ),
    (recipe_of(f=("linear", "x h_prev_1"), h_new_0=("activation_tanh", "f")), "node 'f' reads 'h_prev_1'"),
    (recipe_of(f=("linear", "x h_prev_0")), "has no node 'h_new_0'"),
    (recipe_of(f=("linear", "x"), h_new_1=("activation_tanh", "f")), "has no node 'h_new_0'"),
    (
        recipe_of(f=("linear", "x"), h_new_0=("activation_tanh", "f"), h_new_2=("activation_tanh", "f")),
        "has no node 'h_new_1'",
    ),
    (recipe_of(f=("linear", "x"), h_new_0=("blend", "f h_prev_0")), "node 'h_new_0' (blend) has 2 inputs; expected 3"),
    (
        recipe_of(f=("linear", "x"), h_new_0=("activation_sigm", "f h_prev_0")),
        "node 'h_new_0' (activation_sigm) has 2 inputs; expected 1",
    ),
    (
        recipe_of(f=("linear", "x"), h_new_0=("elementwise_sum", "f")),
        "node 'h_new_0' (elementwise_sum) has 1 inputs; expected 2 or more",
    ),
    (
        recipe_of(f=("linear", ""), h_new_0=("activation_tanh", "f")),
        "node 'f' (linear) has 0 inputs; expected 1 or more",
    ),
    (recipe_of(h_new_0=("elementwise_prod", "x h_prev_0")), "node 'h_new_0' (elementwise_prod) reads x"),
    (recipe_of(a=("linear", "x b"), b=("activation_tanh", "a"), h_new_0=("activation_tanh", "b")), "has a cycle: "),
    (
        recipe_of(f=("linear", "x"), h_new_0=("activation_tanh", "f"), g=("linear", "x")),
        "node 'g' leads to no new state",
    ),
    (recipe_of(h_new_0=("activation_tanh", "h_prev_0")), "reads x nowhere"),
    (recipe_of(h_prev_0=("linear", "x"), h_new_0=("activation_tanh", "h_prev_0")), "node 'h_prev_0' has the name of"),
    (
        '{"f":{"op":"linear","input":["x"]},"f":{"op":"linear","input":["x"]},'
        '"h_new_0":{"op":"activation_tanh","input":["f"]}}',
        "node 'f' has the name of",
    ),
)


@pytest.mark.parametrize(("text", "complaint"), BAD)
def test_bad_recipes_are_named(text: str, complaint: str) -> None:
    with pytest.raises(cgir.SpecError) as caught:
        spaces.get("nasbench_nlp").parse(text)
    assert str(caught.value).startswith("nasbench_nlp: ")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_every_recipe_of_the_table_reads_back() -> None:
    space = spaces.get("nasbench_nlp")
    assert len(table()) == 14_322
    for row, spec in zip(table(), specs(), strict=True):
        assert space.format(spec) == text_of(row)
        assert {node.name: {"op": node.op, "input": list(node.inputs)} for node in spec} == row["recipe"]


def test_all_but_the_authors_gru_are_what_their_generator_may_draw() -> None:
    space = spaces.get("nasbench_nlp")
    assert [space.format(spec) for spec in specs() if not can_be_sampled(spec)] == [GRU]


def check_params(step: int) -> None:
    space = spaces.get("nasbench_nlp")
    assert [space.graph(spec).num_params for spec in specs()[::step]] == [row["num_params"] for row in table()[::step]]


def test_published_parameter_counts() -> None:
    space = spaces.get("nasbench_nlp")
    tied, decoder_bias = 10_000 * 400, 10_000
    cells = 600 * (400 + 600) + 600 + 600 * (600 + 600) + 600 + 400 * (600 + 400) + 400
    assert space.graph(space.parse(RNN)).num_params == tied + decoder_bias + cells == 5_731_600
    check_params(20)


@pytest.mark.slow
def test_every_published_parameter_count() -> None:
    check_params(1)


@pytest.mark.slow
def test_graphs_of_the_table_are_canonical() -> None:
    """No pass changes them, whatever operators happen to stand next to each other."""
    space = spaces.get("nasbench_nlp")
    for spec in tqdm(specs()):
        graph = space.graph(spec)
        again = cgir.canonicalize(graph)
        assert [node.kind for node in again.nodes] == [node.kind for node in graph.nodes], (
            f"{space.format(spec)}\n{cgir.diff(graph, again)}"
        )


def test_graphs_of_the_table_are_the_traced_networks() -> None:
    space = spaces.get("nasbench_nlp")
    for spec in specs()[:: len(specs()) // 12]:
        graph, traced = space.graph(spec), trace(space, spec)
        assert cgir.isomorphic(graph, traced), f"{space.format(spec)}\n{cgir.diff(graph, traced)}"
        assert (graph.num_params, graph.flops) == (traced.num_params, traced.flops)
    check_traces(space, 5, seed=1)
    check_traces(spaces.get("nasbench_nlp", layers=1, steps=1, embedding=3, hidden=5), 5, seed=2)


MERGED = (
    recipe_of(a=("linear", "x h_prev_0"), s=("activation_sigm", "a"), h_new_0=("elementwise_prod", "a s")),
    recipe_of(a=("linear", "x h_prev_0"), s=("activation_sigm", "a"), h_new_0=("elementwise_prod", "s a h_prev_0")),
    recipe_of(a=("linear", "x h_prev_0"), s=("activation_sigm", "a"), h_new_0=("elementwise_prod", "a h_prev_0 s")),
    recipe_of(a=("linear", "x h_prev_0"), s=("activation_sigm", "a"), h_new_0=("blend", "a s h_prev_0")),
    recipe_of(a=("linear", "x h_prev_0"), s=("activation_sigm", "a"), h_new_0=("blend", "s a h_prev_0")),
    recipe_of(a=("linear", "x h_prev_0"), h_new_1=("activation_sigm", "a"), h_new_0=("elementwise_prod", "a h_new_1")),
    recipe_of(a=("linear", "x h_prev_0"), b=("linear", "x"), h_new_0=("elementwise_sum", "a b h_prev_0")),
    recipe_of(a=("linear", "x h_prev_0"), b=("elementwise_sum", "a a"), h_new_0=("elementwise_sum", "b h_prev_0")),
    recipe_of(
        a=("linear", "x h_prev_0"),
        b=("blend", "h_prev_0 a h_prev_1"),
        h_new_1=("elementwise_sum", "b a"),
        h_new_0=("elementwise_sum", "b h_new_1"),
    ),
    recipe_of(
        h_new_0=("activation_tanh", "b"),
        b=("elementwise_sum", "a h_prev_0"),
        a=("elementwise_sum", "c h_prev_0"),
        c=("linear", "x"),
    ),
)


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("text", MERGED)
def test_operators_that_melt_together(text: str, steps: int) -> None:
    """Sums of sums and x sigmoid(x), where nothing else reads the inner one; in a loop's body as elsewhere."""
    space = spaces.get("nasbench_nlp", **SMALL | {"steps": steps})
    spec = space.parse(text)
    graph, traced = space.graph(spec), trace(space, spec)
    cgir.verify(graph)
    assert cgir.isomorphic(graph, traced), cgir.diff(graph, traced)


def test_exported_programs_have_the_same_graph() -> None:
    space = spaces.get("nasbench_nlp", **SMALL | {"layers": 1})
    spec = space.parse(
        recipe_of(
            f=("linear", "x h_prev_0"),
            h_new_1=("elementwise_prod", "f h_prev_1"),
            h_new_0=("elementwise_sum", "f h_new_1"),
        )
    )
    with torch.device("meta"):
        module = space.module(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, while it compiles the step
        program = torch.export.export(module, space.inputs(spec), strict=False)
    exported = frontends.trace(program)
    assert cgir.isomorphic(space.graph(spec), exported), cgir.diff(space.graph(spec), exported)


def test_a_layer_is_one_loop_and_weights_are_shared_over_time() -> None:
    short, long = (spaces.get("nasbench_nlp", **SMALL | {"steps": steps}) for steps in (3, 30))
    spec = short.parse(GRU)
    a, b = short.graph(spec), long.graph(spec)
    assert len(a) == len(b)
    assert a.op_counts()["Loop"] == SMALL["layers"]
    assert a.num_params == b.num_params
    assert b.flops == 10 * a.flops
    # three linear nodes in layers 6 -> 8 and 8 -> 6, and the decoder
    per_token = 3 * (8 * (6 + 8) + 6 * (8 + 6)) + 20 * 6
    assert a.flops == 2 * 3 * per_token
    weights = [param for node in a.nodes if node.op in ("Embedding", "Linear") for param in node.params]
    assert max(Counter(param.id for param in weights).values()) == 2
    assert {param.shape for param in weights if [p.id for p in weights].count(param.id) == 2} == {(20, 6)}


def evaluate(spec: Recipe, weights: dict[tuple[str, int], Tensor], x: Tensor, states: list[Tensor]) -> list[Tensor]:
    """One step by the definition, name by name and by recursion.

    Weights of linear nodes are given by name and slot, biases in slot -1.
    """
    nodes = {node.name: node for node in spec}

    def value(name: str) -> Tensor:
        if name not in nodes:
            return x if name == "x" else states[int(name.removeprefix("h_prev_"))]
        node = nodes[name]
        inputs = [value(source) for source in node.inputs]
        if node.op == "linear":
            return sum((weights[name, slot] @ v for slot, v in enumerate(inputs)), weights[name, -1])
        if node.op == "blend":
            return inputs[0] * inputs[1] + (1 - inputs[0]) * inputs[2]
        if node.op == "elementwise_sum":
            return torch.stack(inputs).sum(0)
        if node.op == "elementwise_prod":
            return torch.stack(inputs).prod(0)
        v = inputs[0]
        return {
            "activation_tanh": v.tanh(),
            "activation_sigm": 1 / (1 + (-v).exp()),
            "activation_leaky_relu": torch.where(v > 0, v, 0.01 * v),
        }[node.op]

    return [value(f"h_new_{i}") for i in range(len(states))]


def test_networks_compute_what_the_recipes_say() -> None:
    space, rng = spaces.get("nasbench_nlp", **SMALL), np.random.default_rng(1)
    torch.manual_seed(0)
    for spec in [space.parse(GRU), *(space.sample(rng) for _ in range(4))]:
        module = space.module(spec)
        tokens = torch.tensor([[3, 0, 7]])
        given = [torch.randn(1, *s.shape[1:]) for s in space.inputs(spec)[1:]]
        sequence, place = module.encoder.weight[tokens[0]], 0
        for layer in module.layers:
            linears = iter(layer.cell.linears)
            weights = {}
            for node in (node for node in layer.cell.nodes if node.op == "linear"):
                linear = next(linears)
                weights |= {(node.name, slot): weight for slot, weight in enumerate(linear.weights)} | {
                    (node.name, -1): linear.bias
                }
            states = [state[0] for state in given[place : place + module.num_states]]
            place += module.num_states
            outputs = []
            for element in sequence:
                states = evaluate(spec, weights, element, states)
                outputs.append(states[0])
            sequence = torch.stack(outputs)
        expected = sequence @ module.encoder.weight.T + module.decoder.bias
        assert torch.allclose(module(tokens, *given)[0], expected, atol=1e-5)


def test_the_operator_that_is_traced_computes_the_same() -> None:
    space = spaces.get("nasbench_nlp", **SMALL)
    layer = space.module(space.parse(GRU)).layers[0]
    x, states = torch.randn(3, 2, 6), [torch.randn(2, 8)]
    with torch.no_grad():
        assert torch.allclose(layer.scan(x, states), layer(x, states), atol=1e-6)


def test_parameters_are_those_that_training_reaches() -> None:
    """All of them, when the states after the last step count as a result, as they do for the benchmark."""
    space, rng = spaces.get("nasbench_nlp", **SMALL), np.random.default_rng(2)
    for spec in (space.sample(rng) for _ in range(10)):
        module = space.module(spec)
        for layer in module.layers:
            states = [torch.randn(2, layer.cell.linears[0].bias.shape[0]) for _ in range(module.num_states)]
            sum(
                state.sum() for state in layer.cell(torch.randn(2, 6 if layer is module.layers[0] else 8), states)
            ).backward()
        module.decoder(torch.randn(2, 6)).sum().backward()
        assert sum(p.numel() for p in module.parameters() if p.grad is not None) == space.graph(spec).num_params


def test_samples_look_like_the_table() -> None:
    """Sampled as by the authors: shares of numbers of states and of operators, up to the error of 400 recipes."""
    space, rng = spaces.get("nasbench_nlp"), np.random.default_rng(0)
    drawn = [space.sample(rng) for _ in range(400)]
    assert all(find_problem(spec) is None and can_be_sampled(spec) for spec in drawn)
    published = specs()[3::30]
    for op in ("linear", "blend", "elementwise_prod", "activation_tanh"):
        shares = [np.mean([node.op == op for spec in recipes for node in spec]) for recipes in (drawn, published)]
        assert abs(shares[0] - shares[1]) < 0.03, op
    assert {len(space.inputs(spec)) for spec in drawn} == {4, 7, 10}


def test_mutations_change_one_node() -> None:
    space, rng = spaces.get("nasbench_nlp"), np.random.default_rng(0)
    spec = space.parse(RNN)
    # all that can be changed and leaves x and the state in use
    assert space.mutate(spec, rng)[1].op != "activation_tanh"
    for _ in range(30):
        spec = space.sample(rng)
        other = space.mutate(spec, rng)
        changed = [(a, b) for a, b in zip(spec, other, strict=True) if a != b]
        assert len(changed) == 1
        (a, b) = changed[0]
        assert a.name == b.name
        assert (a.op != b.op) + sum(x != y for x, y in zip(a.inputs, b.inputs, strict=True)) == 1
        assert can_be_sampled(other)
    stuck = (Node("h_new_0", "linear", ("x",)),)
    assert space.mutate(stuck, rng) != stuck


def test_what_cannot_be_enumerated_says_so() -> None:
    with pytest.raises(cgir.SpecError, match="not finite"):
        spaces.get("nasbench_nlp").enumerate()


def test_cell_graphs_are_the_recipes() -> None:
    space = spaces.get("nasbench_nlp")
    cell = space.cell_graph(space.parse(RNN))
    assert cell.ops == ("input", "input_h_prev_0", "linear", "activation_tanh", "output_h_new_0")
    assert cell.edges == ((0, 2), (1, 2), (2, 3), (3, 4))
    for row, spec in list(zip(table(), specs(), strict=True))[::50]:
        cell = space.cell_graph(spec)
        assert Counter(cell.ops) >= Counter(node["op"] for node in row["recipe"].values())
        assert len(cell.edges) == sum(len(set(node.inputs)) for node in spec) + sum(
            op.startswith("output") for op in cell.ops
        )
        assert cell.pruned().ops.count("input") == 1
