"""What of a file may reach TensorFlow's C++ code, which ends its process where it does not expect something.

Shape functions check most of what they read, and abort or crash on the rest: on numbers that they take for 32 bits
wide, and in operators that no network consists of.
"""

from __future__ import annotations

import re

from tensorflow.core.framework import attr_value_pb2, op_def_pb2

from cgir import TraceError

from .graph_def import NodeDef

MAX_RANK = 254  # of TensorFlow's tensors
AXES = re.compile(r"(.*_)?(axis|dims?|dimension|rank)")  # attributes that are axes, or numbers of them
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
# operators that run parts of a program elsewhere, in queues or on other machines, and those that compilers write
REFUSED = re.compile(
    r"_(?!Fused|Arg|Retval).*|XlaSparse.*|(Xla|_)?(Send|Recv).*|.*(Collective|Queue|Barrier|Dedup|TPU|Nccl|Dataset).*"
    r"|.*(Iterator|BatchFunction|Boosted|Reader|Accumulator).*|(OrderedMap|Map)?(Stage|Unstage|Peek|IncompleteSize)"
)
# arithmetic on sizes and settings, whose kernels take no more memory than their operands and results
_FOLDABLE = (
    "Abs Acos Acosh Add AddN AddV2 All Any ArgMax ArgMin Asin Asinh Atan Atan2 Atanh BitwiseAnd BitwiseOr "
    "BitwiseXor BroadcastArgs BroadcastTo Cast Ceil ClipByValue Concat ConcatOffset ConcatV2 Const Cos Cosh "
    "Cumprod Cumsum Div DivNoNan DynamicStitch EnsureShape Equal Erf Erfc Exp ExpandDims Expm1 Fill Floor FloorDiv "
    "FloorMod Gather GatherNd GatherV2 Greater GreaterEqual Identity Invert InvertPermutation IsFinite IsInf IsNan "
    "LeftShift Less LessEqual LinSpace ListDiff Log Log1p LogicalAnd LogicalNot LogicalOr LowerBound MatMul Max "
    "Maximum Mean Min Minimum Mod Mul MulNoNan Neg NotEqual OneHot OnesLike Pack Pad PadV2 Pow PreventGradient "
    "Prod Range Rank RealDiv Reciprocal Relu Relu6 Reshape Reverse ReverseV2 RightShift Rint Roll Round Rsqrt "
    "ScatterNd Select SelectV2 Shape Sigmoid Sign Sin Sinh Size Slice Snapshot Softplus Split SplitV Sqrt Square "
    "SquaredDifference Squeeze StopGradient StridedSlice Sub Sum Tan Tanh TensorScatterAdd TensorScatterUpdate "
    "Tile TopKV2 Transpose TruncateDiv TruncateMod Unique Unpack UnsortedSegmentMax UnsortedSegmentMin "
    "UnsortedSegmentProd UnsortedSegmentSum UpperBound Where Xdivy Xlogy ZerosLike"
)
FOLDABLE = frozenset(_FOLDABLE.split())


def check_operator(node: NodeDef, definition: op_def_pb2.OpDef) -> None:
    """Refuse a node that TensorFlow's C++ code must not see.

    Args:
        node: of the graph.
        definition: of its operator.

    Raises:
        TraceError: it is of a refused kind, or an attribute is out of range.
    """
    where = f"node {node.name[:100]!r} ({node.op})"
    if REFUSED.fullmatch(node.op):
        raise TraceError(
            f"{where}: operators of this kind hand tensors to other devices or programs and compute nothing; "
            "export the model for inference, with a signature from its inputs to its outputs"
        )
    for attribute in definition.attr:
        if attribute.name in node.attr:
            _check_attribute(where, attribute.name, node.attr[attribute.name])


def _check_attribute(where: str, name: str, value: attr_value_pb2.AttrValue) -> None:
    numbers = [value.i, *value.list.i]
    if not name.startswith("seed") and not all(INT32_MIN <= n <= INT32_MAX for n in numbers):
        raise TraceError(f"{where}: {name} is {max(numbers, key=abs)}, expected a number of 32 bits")
    if AXES.fullmatch(name) and not all(-MAX_RANK <= n <= MAX_RANK for n in numbers):
        raise TraceError(f"{where}: {name} is {max(numbers, key=abs)}, and tensors have at most {MAX_RANK} axes")
    if any(len(shape.dim) > MAX_RANK for shape in (value.shape, *value.list.shape)):
        raise TraceError(f"{where}: {name} has more than {MAX_RANK} axes")
