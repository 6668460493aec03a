"""The report adds up, and says what its numbers do not cover."""

import re

from cgir_samples import resnet50, small_graph

from cgir.graph import Graph, Node
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
    assert "counted as 0: 13\n  lib::fold -> 4, node 1 in body.fold\n" in text
    assert text.count("lib::fold -> ") == 10
    assert "\n  ... and 3 more" in text
    assert "parameters that no operator reads, not counted above: 1,234" in text
    assert text.splitlines()[-3:] == [
        "nodes contracted, folded, merged or removed, by pass: 1,205",
        "  fold_batch_norm     1,200",
        "  contract_movement       5",
    ]
    assert "loops" not in text


def test_report_names_loops_of_unknown_length():
    assert (
        "loops whose number of iterations is unknown, their bodies counted once: 1\n  Loop -> 4, node 2 in body"
        in report(nodes("ReLU", "Loop", module="body"))
    )
    assert "loops" not in report(nodes("ReLU", "Loop", attrs=(("trips", 3),)))
