"""The report adds up, and says what its numbers do not cover."""

import re
from dataclasses import replace

from cgir_samples import resnet50, small_graph

from cgir.drawing import summary
from cgir.graph import Gap, Graph, Node, Param
from cgir.report import report


def test_report_adds_up():
    text = report(resnet50())
    assert "25,557,032" in text  # torchvision's ResNet-50
    assert "8,178,368,512" in text  # twice the 4.09 G multiply-adds usually quoted
    rows = [re.split(r"\s{1,}", line) for line in text.splitlines() if line.endswith("%")]
    assert sum(int(row[2].replace(",", "")) for row in rows) == 25_557_032
    assert sum(int(row[1]) for row in rows) == 176
    assert {row[0] for row in rows} == set(resnet50().op_counts())


def test_report_names_opaque_operators_and_notes():
    text = small_graph().report()
    assert "Opaque:fold" in text
    assert re.search(r"opaque operators, .*: 1\n  fold -> 4x8x8, node 4 in body", text)
    assert text.endswith("nodes contracted, folded, merged or removed, by pass: 3\n  contract_movement       3")
    assert re.search(r"Linear +2 +16 ", text)  # a tied weight counts once


def nodes(*ops, **fields):
    """A chain of operators on (4,) vectors, all with the same further fields."""
    chain = [Node("Input", shape=(4,)), *(Node(op, (i,), ((4,),), (4,), **fields) for i, op in enumerate(ops))]
    return Graph(
        (*chain, Node("Output", (len(ops),), ((4,),), (4,))),
        notes=(("contract_movement", 5), ("fold_batch_norm", 1200), ("unused parameters", 1234)),
    )


def test_report_lists_what_is_not_counted():
    text = report(nodes(*["Opaque"] * 13, module="body.fold", attrs=(("name", "lib::fold"),)))
    assert "\nFLOPs                 at least 0  (1 multiply-add = 2)\n" in text
    assert "FLOPs: operator lib::fold (node 1 in body.fold) is opaque, and its cost unknown\n" in text
    assert "shapes: 13\n  lib::fold -> 4, node 1 in body.fold\n" in text
    assert text.count("lib::fold -> ") == 10
    assert text.count("\n  ... and 3 more") == 2
    assert "parameters that no operator reads, not counted above: 1,234" in text
    assert text.splitlines()[-3:] == [
        "nodes contracted, folded, merged or removed, by pass: 1,205",
        "  fold_batch_norm     1,200",
        "  contract_movement       5",
    ]


def test_opaque_operators_of_known_cost_are_no_gap():
    graph = nodes("Opaque", attrs=(("flops", 40), ("name", "lib::tree")))
    assert graph.complete
    assert graph.flops == 40
    assert "at least" not in graph.report()
    assert "shapes: 1\n  lib::tree -> 4, node 1\n" in graph.report()


def test_report_says_which_number_is_a_lower_bound_and_why():
    graph = replace(nodes("ReLU"), known_gaps=(Gap("parameters", "a call read w, which no operator has"),))
    assert not graph.complete
    assert "\nparameters            at least 0\n" in graph.report()
    assert "\nFLOPs                          0  (1" in graph.report()
    for text in (graph.report(), str(graph), summary(graph)):
        assert "\n  parameters: a call read w, which no operator has" in text


def test_report_lists_detached_operators():
    linear = Node("Linear", (), ((3,),), (2,), (Param("w", (2, 3)), Param("b", (2,))), (), "head.linear", "head")
    tied = replace(linear, name="tail.linear")
    graph = replace(nodes("ReLU"), detached=(linear, tied))
    assert (graph.num_params, graph.flops) == (8, 24)
    for text in (graph.report(), str(graph), summary(graph)):
        assert (
            "counted, but on no path from an input to an output: 2\n"
            "  head.linear (Linear): 8 parameters, 12 FLOPs\n  tail.linear (Linear): 0 parameters, 12 FLOPs"
        ) in text


def test_repr_is_one_line():
    assert repr(replace(nodes("ReLU"), name="net")) == "<Graph 'net', raw: 3 nodes, 2 edges>"
