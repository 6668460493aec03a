"""Specs of NAS-Bench-Graph, and the data sets in whose networks they are."""

from __future__ import annotations

from typing import NamedTuple

from .layer_names import LAYER_NAMES, SKIP

OPS = (*LAYER_NAMES, SKIP)
LINKS = (
    (0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 1, 1), (0, 0, 1, 2), (0, 0, 1, 3), (0, 1, 1, 1), (0, 1, 1, 2), (0, 1, 2, 2),
    (0, 1, 2, 3),
)  # fmt: skip
# operations (from 0) that may change places: groups of as many each, whose order is that of `OPS`
SYMMETRIES: dict[tuple[int, ...], tuple[tuple[int, ...], ...]] = {
    (0, 0, 0, 0): ((0,), (1,), (2,), (3,)),
    (0, 0, 0, 1): ((1,), (2,)),
    (0, 0, 1, 1): ((2,), (3,)),
    (0, 0, 1, 2): ((0, 2), (1, 3)),
    (0, 1, 1, 1): ((1,), (2,), (3,)),
    (0, 1, 2, 2): ((2,), (3,)),
}


class GraphDataSet(NamedTuple):
    """A data set and the network around what is searched.

    Attributes:
        features: of a node.
        classes: length of the logits of a node.
        width: of every operation.
        linear_before: whether the features go through a linear layer and ReLU first.
        linear_after: whether there are two linear layers after the operations, with ReLU between, instead of one.
        nodes: of the real graph.
        edges: of the real graph, both directions counted.
    """

    features: int
    classes: int
    width: int
    linear_before: bool
    linear_after: bool
    nodes: int
    edges: int


DATA_SETS = {
    "cora": GraphDataSet(1433, 7, 256, False, True, 2_708, 10_556),
    "citeseer": GraphDataSet(3703, 6, 256, False, True, 3_327, 9_104),
    "pubmed": GraphDataSet(500, 3, 128, False, False, 19_717, 88_648),
    "cs": GraphDataSet(6805, 15, 128, True, False, 18_333, 163_788),
    "physics": GraphDataSet(8415, 5, 256, True, False, 34_493, 495_924),
    "photo": GraphDataSet(745, 8, 128, False, False, 7_650, 238_162),
    "computers": GraphDataSet(767, 10, 64, True, True, 13_752, 491_722),
}


class Spec(NamedTuple):
    """One network.

    Attributes:
        link: what each operation reads, 0 the features, k the result of operation k.
        ops: the operations.
    """

    link: tuple[int, ...]
    ops: tuple[str, ...]

    @property
    def leaves(self) -> tuple[int, ...]:
        """Results that no operation reads, by number."""
        return tuple(number for number in range(1, 5) if number not in self.link)


def ordered(link: tuple[int, ...], ops: tuple[str, ...]) -> Spec:
    """The spec, with operations that may change places in the order of `OPS`."""
    groups = SYMMETRIES.get(link)
    if groups is None:
        return Spec(link, ops)
    in_order = sorted(groups, key=lambda group: [OPS.index(ops[place]) for place in group])
    ordered = list(ops)
    for group, source in zip(groups, in_order, strict=True):
        for place, origin in zip(group, source, strict=True):
            ordered[place] = ops[origin]
    return Spec(link, tuple(ordered))


def misplaced_skip(spec: Spec) -> int | None:
    """The number from 0 of a skip that makes the network one with fewer operations, written another way; or None."""
    raw = [True]  # whether each value is the features
    for place, (source, op) in enumerate(zip(spec.link, spec.ops, strict=True)):
        siblings, is_leaf = spec.link.count(source) > 1, place + 1 not in spec.link
        only_reader = raw[source] and not siblings and not is_leaf
        if op == SKIP and not (only_reader or (is_leaf and siblings and not raw[source])):
            return place
        raw.append(raw[source] and op == SKIP)
    return None
