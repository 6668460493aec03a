"""The driver of passes: order, notes by pass, the debug switch, and errors that name the pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cgir_samples import random_graph, resnet50, small_graph
from raw_graphs import RawGraph

import cgir
from cgir import Graph, GraphBuilder, InvalidGraphError, passes
from cgir.passes import canonicalize, contract_movement, fold_constants, remove_dead, run_passes, sequence
from cgir.passes.driver import DEBUG

OPTIONS = [(level, keep) for level in passes.LEVELS for keep in (False, True)]


def raw_network() -> Graph:
    """A raw graph with work for many passes: constants, movement, a dead branch, x * sigmoid(x), a sum of sums."""
    raw = RawGraph((4, 4, 4))
    double = raw.call("Mul", 0, raw.number(2.0))
    swish = raw.call("Mul", double, raw.call("Sigmoid", double))
    raw.call("ReLU", swish)  # nothing reads it
    total = raw.call("Add", raw.call("Add", raw.call("Identity", swish), 0), double)
    flat = raw.call("Reshape", total, shape=(64,))
    turned = raw.call("Transpose", raw.param("weight", (10, 64)), shape=(64, 10))
    product = raw.call("MatMul", flat, turned, shape=(10,), inner=64)
    raw.call("Output", raw.call("Add", product, raw.param("bias", (10,))))
    return Graph(tuple(raw.nodes), "sample", notes=(("unused parameters", 7),))


def samples() -> list[Graph]:
    rng = np.random.default_rng(0)
    canonical = [replace(graph, level="raw") for graph in (resnet50(), small_graph())]
    return [raw_network(), *canonical, *(random_graph(rng, size, 0.3) for size in (5, 30, 60))]


@pytest.mark.parametrize(("level", "keep"), OPTIONS)
def test_the_driver_gives_what_the_functions_give_in_order(level: str, keep: bool) -> None:
    for raw in samples():
        expected = raw
        for step in sequence(level, keep):
            expected = step(expected)
        found = canonicalize(raw, level, keep)
        assert (found.nodes, found.name, found.level) == (expected.nodes, raw.name, level)
        assert canonicalize(raw, level, keep, debug=True) == found


def test_the_sequence_begins_with_constants_and_movement_and_contains_the_steps() -> None:
    names = [step.__name__ for step in sequence()]
    assert names[:5] == [
        "recognize_recurrent", "recognize_batch_norm", "fold_constants", "recognize_in_parts", "contract_movement",
    ]  # fmt: skip
    assert names[5:] == [step.__name__ for step in passes.STEPS]
    assert len(set(names)) == len(names)
    assert set(names) <= set(vars(passes))


@pytest.mark.parametrize("level", passes.LEVELS)
def test_notes_by_pass_account_for_every_node_that_is_gone(level: str) -> None:
    for raw in samples():
        found = canonicalize(raw, level)
        notes = dict(found.notes)
        assert notes.pop("unused parameters", 0) == dict(raw.notes).get("unused parameters", 0)
        assert set(notes) <= {step.__name__ for step in sequence(level)} | {"contract_movement"}
        before = sum(count for name, count in raw.notes if name != "unused parameters")
        assert sum(notes.values()) == before + len(raw) - len(found)


def test_notes_of_a_network() -> None:
    graph = canonicalize(raw_network())
    assert dict(graph.notes) == {
        "contract_identities": 1, "contract_movement": 1, "fold_constants": 4, "merge_adds": 1, "recognize_patterns": 1,
        "remove_dead": 1, "unify_linear": 1, "unused parameters": 7,
    }  # fmt: skip
    assert dict(canonicalize(graph).notes) == dict(graph.notes)  # nothing more to remove
    assert "  fold_constants" in graph.report()


def broken(graph: Graph) -> Graph:
    """A pass that forgets to change the shapes that readers see."""
    return graph.with_nodes(replace(node, in_shapes=node.in_shapes[1:]) for node in graph.nodes)


def failing(graph: Graph) -> Graph:
    """A pass with a bug."""
    raise KeyError("weight")


def test_a_pass_that_breaks_an_invariant_is_named() -> None:
    with pytest.raises(
        InvalidGraphError, match=r"^pass broken \(after fold_constants, contract_movement\) broke .*node 1 .*in_shapes"
    ):
        run_passes(raw_network(), (fold_constants, contract_movement, broken, remove_dead), debug=True)
    run_passes(raw_network(), (fold_constants, contract_movement, broken), debug=False)


def test_a_pass_that_fails_is_named() -> None:
    expected = r"^graph 'sample': pass failing \(after fold_constants\) failed: KeyError: 'weight'$"
    with pytest.raises(InvalidGraphError, match=expected) as found:
        run_passes(raw_network(), (fold_constants, failing, remove_dead))
    assert isinstance(found.value.__cause__, KeyError)
    with pytest.raises(InvalidGraphError, match=r"pass failing \(after none\) failed"):
        run_passes(raw_network(), (failing,))


def test_a_graph_that_was_invalid_before_is_not_a_passes_fault() -> None:
    build = GraphBuilder()
    build.output(build.relu(build.input((4,))))
    graph = broken(build.build())
    with pytest.raises(InvalidGraphError, match=r"^the graph is invalid before any pass: .*in_shapes"):
        cgir.canonicalize(graph, debug=True)


@pytest.mark.parametrize(("value", "checked"), [("1", True), ("yes", True), ("0", False), ("", False)])
def test_the_environment_switches_checks_on(monkeypatch: pytest.MonkeyPatch, value: str, checked: bool) -> None:
    monkeypatch.setenv(DEBUG, value)
    if checked:
        with pytest.raises(InvalidGraphError, match="pass broken"):
            run_passes(raw_network(), (broken,))
    else:
        run_passes(raw_network(), (broken,))
