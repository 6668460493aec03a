"""Converters of PyTorch functions: one small function per family, with the PyTorch function's own signature.

Python itself binds the arguments. A converter returns a `Conversion`: which tensors are data, which are weights, and
the attributes; functions without a converter take all their tensors as data. Names are those of `cgir.ops`, "F." before
those where `torch.nn.functional` orders arguments otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from cgir.graph import Attr
from frontends.common.importer import Converter

from . import layer_converters
from .conversion import Conversion
from .typing import IntOrInts, Number, TensorOrNumber


def _scalar(name: str, default: Number) -> Converter[Conversion]:
    def convert(input: Tensor, value: Number = default, *_: object, **named: Number) -> Conversion:
        number = named.get("negative_slope", named.get("alpha", value))
        return Conversion((input,), {name: float(number)})

    return convert


def _rrelu(input: Tensor, lower: Number = 1 / 8, upper: Number = 1 / 3, *_: object, **__: object) -> Conversion:
    return Conversion((input,), {"slope": (lower + upper) / 2})


def _hardtanh(input: Tensor, min_val: Number = -1, max_val: Number = 1, *_: object, **__: object) -> Conversion:
    return Conversion((input,)) if (min_val, max_val) == (-1, 1) else _clamp(input, min_val, max_val)


def _clamp(
    input: Tensor, min: Tensor | Number | None = None, max: Tensor | Number | None = None, **_: object
) -> Conversion:
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        return Conversion((input, min, max), op="Clip")
    bounds = {name: float(value) for name, value in (("min", min), ("max", max)) if value is not None}
    return (
        Conversion((input,), op="ReLU6") if bounds == {"min": 0, "max": 6} else Conversion((input,), bounds, op="Clip")
    )


def _clamp_max(input: Tensor, max: Tensor | Number, **_: object) -> Conversion:
    return _clamp(input, None, max)


def _gelu(input: Tensor, approximate: str = "none") -> Conversion:
    return Conversion((input,), {"tanh": True} if approximate == "tanh" else {})


def _axis_size(default: int | None) -> Converter[Conversion]:
    def convert(input: Tensor, dim: int | None = default, *_: object, **__: object) -> Conversion:
        if dim is None:  # the rule of torch.nn.functional before dim was obligatory
            dim = 0 if input.dim() in (0, 1, 3) else 1
        return Conversion((input,), {"size": input.shape[dim] if input.dim() else 1})

    return convert


def _plain_number(value: complex) -> float | str:
    return str(value) if isinstance(value, complex) else float(value)


def _binary(op: str, swapped: bool = False) -> Converter[Conversion]:
    """Arithmetic of two operands in canonical form: x - c is Add of -c, x / c is Mul by 1/c.

    With the scalar on the left, operators that do not commute are `reverse`.
    """

    def convert(
        input: TensorOrNumber,
        other: TensorOrNumber,
        *,
        alpha: Number = 1,
        rounding_mode: str | None = None,
        **_: object,
    ) -> Conversion:
        name = "FloorDiv" if rounding_mode else op
        left, right = (other, input) if swapped else (input, other)
        scaled: dict[str, Attr] = {"alpha": float(alpha)} if alpha != 1 else {}
        if isinstance(left, Tensor) and isinstance(right, Tensor):
            return Conversion((left, right), scaled, op=name)
        reverse = not isinstance(left, Tensor)
        tensor, number = (right, left) if reverse else (left, right)
        if isinstance(number, Tensor) or not isinstance(tensor, Tensor):
            return Conversion((input, other), op=name)
        scalar = _plain_number(number)
        if isinstance(scalar, float) and not reverse:
            if name in ("Add", "Sub"):
                name, scalar = "Add", scalar * alpha * (-1 if name == "Sub" else 1)
            elif name == "Div" and scalar:
                name, scalar = "Mul", 1 / scalar
        attrs: dict[str, Attr] = {"scalar": scalar}
        return Conversion(
            (tensor,), attrs | ({"reverse": True} if reverse and name not in ("Add", "Mul") else {}), op=name
        )

    return convert


def _square(input: Tensor, **_: object) -> Conversion:
    return Conversion((input,), {"scalar": 2.0}, op="Pow")


def _compare(input: Tensor, other: TensorOrNumber, **_: object) -> Conversion:
    return (
        Conversion((input, other))
        if isinstance(other, Tensor)
        else Conversion((input,), {"scalar": _plain_number(other)})
    )


def _masked_fill(input: Tensor, mask: Tensor, value: TensorOrNumber, **_: object) -> Conversion:
    """In the order of `where(mask, value, input)`, which exporters write instead."""
    return Conversion((mask, value, input))


def _dims(input: Tensor, dim: IntOrInts | None) -> tuple[int, ...]:
    if dim is None or isinstance(dim, bool) or dim == ():
        return tuple(range(input.dim()))
    return tuple(d % max(input.dim(), 1) for d in (dim if isinstance(dim, Sequence) else (dim,)))


def _reduce(input: Tensor, dim: IntOrInts | None = None, *_: object, **named: Any) -> Conversion:
    dims = _dims(input, named.get("axis", dim))
    return Conversion((input,), {"dims": len(dims)}, reduced_axes=dims)


def _extremum(op: str) -> Converter[Conversion]:
    def convert(
        input: Tensor,
        dim: Tensor | IntOrInts | None = None,
        *_: object,
        other: Tensor | None = None,
        **named: Any,
    ) -> Conversion:
        if isinstance(dim, Tensor):
            return Conversion((input, dim), op=op)
        return _reduce(input, dim, **named) if other is None else Conversion((input, other), op=op)

    return convert


def _minimum(input: Tensor, *, dim: int | None = None, **_: object) -> Conversion:
    return _reduce(input, dim)._replace(op="ReduceMin")


def _norm(
    input: Tensor, p: Number | str | None = None, dim: IntOrInts | None = None, *_: object, **__: object
) -> Conversion:
    # sums of singular values are those of a decomposition
    return _reduce(input, dim) if p != "nuc" else Conversion((input,), op="Opaque")


def _conj(input: Tensor) -> Conversion:
    return Conversion((input,), op="" if input.is_complex() else "Identity")


def _matmul(input: Tensor, other: Tensor, **_: object) -> Conversion:
    return Conversion((input, other), {"inner": input.shape[-1]}, like_linear=other.dim() == 2)


def _rmatmul(input: Tensor, other: Tensor) -> Conversion:
    return _matmul(other, input)._replace(op="MatMul")


def _grouped_matmul(input: Tensor, other: Tensor, *_: object, **__: object) -> Conversion:
    """Every row is multiplied by one of the matrices."""
    return Conversion((input, other), {"inner": input.shape[-1]}, op="MatMul")


def _einsum(*operands: object) -> Conversion:
    """Only those that are not decomposed into products, see `call_kinds.is_decomposed`."""
    return Conversion(tuple(operand for operand in operands if isinstance(operand, Tensor)), op="Opaque")


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **_: object,
) -> Conversion:
    return Conversion((query, key, value, attn_mask), {"causal": bool(is_causal)})


def _scatter(target: Tensor, *args: Any, **_: object) -> Conversion:
    """Writing into a copy: the tensor, what is written, and where, in the order of `x[index] = value`."""
    if args and isinstance(args[0], list | tuple):
        return Conversion((target, args[1], *(index for index in args[0] if index is not None)), op="Scatter")
    return Conversion((target, args[0]), op="Scatter")


def _scatter_reduce(input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str = "", **_: object) -> Conversion:
    """Extrema of what is written to one place are reductions; sums, means and products are writing."""
    return Conversion((input, index, src), op={"amax": "ReduceMax", "amin": "ReduceMin"}.get(reduce, "Scatter"))


def _first(input: Tensor, *_: object, **__: object) -> Conversion:
    return Conversion((input,))


def _copy(target: Tensor, source: Tensor, *_: object) -> Conversion:
    return Conversion((source,), op="Identity" if source.shape == target.shape else "Expand")


_REDUCTIONS = (
    "mean nanmean sum nansum prod amax amin argmax argmin logsumexp any all count_nonzero var std var_mean std_mean"
)
CONVERTERS: dict[str, Converter[Conversion]] = {
    **layer_converters.CONVERTERS,
    # activations
    "leaky_relu": _scalar("slope", 0.01),
    "elu": _scalar("alpha", 1.0),
    "celu": _scalar("alpha", 1.0),
    "rrelu": _rrelu,
    "hardtanh": _hardtanh,
    "gelu": _gelu,
    **dict.fromkeys(("softmax", "softmin", "log_softmax"), _axis_size(None)),
    "glu": _axis_size(-1),
    **dict.fromkeys(("clamp", "clip", "clamp_min"), _clamp),
    "clamp_max": _clamp_max,
    # arithmetic and comparison
    **dict.fromkeys(("add", "iadd", "radd"), _binary("Add")),
    **dict.fromkeys(("sub", "subtract", "isub"), _binary("Sub")),
    "rsub": _binary("Sub", swapped=True),
    **dict.fromkeys(("mul", "multiply", "imul", "rmul"), _binary("Mul")),
    **dict.fromkeys(("div", "divide", "true_divide", "truediv", "itruediv", "idiv"), _binary("Div")),
    **dict.fromkeys(("rdiv", "rtruediv"), _binary("Div", swapped=True)),
    **dict.fromkeys(("floor_divide", "floordiv", "ifloordiv"), _binary("FloorDiv")),
    "rfloordiv": _binary("FloorDiv", swapped=True),
    **dict.fromkeys(("remainder", "fmod", "mod", "imod"), _binary("Mod")),
    "rmod": _binary("Mod", swapped=True),
    **dict.fromkeys(("pow", "ipow", "float_power"), _binary("Pow")),
    "rpow": _binary("Pow", swapped=True),
    "square": _square,
    **dict.fromkeys(("conj", "conj_physical"), _conj),
    "masked_fill": _masked_fill,
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge", "greater", "less", "equal"), _compare),
    # reductions
    **dict.fromkeys(_REDUCTIONS.split(), _reduce),
    "max": _extremum("Maximum"),
    "min": _extremum("Minimum"),
    "aminmax": _minimum,
    **dict.fromkeys(("norm", "linalg_norm", "linalg_vector_norm"), _norm),
    # products
    **dict.fromkeys(("matmul", "mm", "bmm", "mv", "dot", "vdot", "inner"), _matmul),
    "rmatmul": _rmatmul,
    **dict.fromkeys(("_grouped_mm", "grouped_mm"), _grouped_matmul),
    "einsum": _einsum,
    "scaled_dot_product_attention": _attention,
    # writing
    **dict.fromkeys(("index_put", "slice_scatter", "select_scatter"), _scatter),
    "scatter_reduce": _scatter_reduce,
    "copy": _copy,
    # of the second tensor only size or type is read
    **dict.fromkeys(("expand_as", "view_as", "reshape_as", "type_as"), _first),
}
