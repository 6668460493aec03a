"""The table of operators is consistent."""

from cgir.graph import NodeKind
from cgir.node_features import categories
from cgir.ops import INDEX, OPS, TORCH_NAMES


def test_vocabulary():
    assert [list(OPS)[i] for i, *_ in categories([NodeKind(op, (), (), (), ()) for op in OPS])] == list(OPS)
    assert sorted(INDEX.values()) == list(range(len(OPS)))
    assert set(TORCH_NAMES.values()) <= set(OPS)
    commutative = {op.name for op in OPS.values() if op.commutative}
    assert commutative == {"Add", "Mul", "Maximum", "Minimum"}
