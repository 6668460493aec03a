"""How each PyTorch function becomes a node: one small function per family, with the PyTorch function's own signature.

Python itself binds the arguments. A recipe says which tensors are data, which are weights, and the attributes; functions without one
take all their tensors as data. Names are those of `cgir.ops`, "F." before one where `torch.nn.functional` orders arguments otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

from torch import Tensor

from cgir.graph import Attr

Number = int | float | bool


class Recipe(NamedTuple):
    """What a call computes. An empty `op` means the one its name stands for; `dims` are the axes it reduces.

    `like_linear` products are linear layers if their second operand turns out to be a weight.
    """

    inputs: tuple[Any, ...]
    attrs: dict[str, Attr] = {}
    weights: tuple[Tensor | None, ...] = ()
    op: str = ""
    dims: tuple[int, ...] | None = None
    like_linear: bool = False


def _tuple(value: Any, n: int) -> tuple[int, ...]:
    values = tuple(int(v) for v in value) if isinstance(value, Sequence) else (int(value),)
    return values * n if len(values) == 1 else values


def _pairs(padding: Any, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding == "same":
        total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return tuple((t // 2, t - t // 2) for t in total)
    return tuple((p, p) for p in _tuple(padding, len(kernel)))


def _conv(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Recipe:
    kernel = tuple(weight.shape[2:])
    n = len(kernel)
    wide = _tuple(dilation, n)
    attrs = {"kernel": kernel, "stride": _tuple(stride, n), "padding": _pairs(padding, kernel, wide), "dilation": wide, "groups": groups}
    return Recipe((input,), attrs, (weight, bias))


def _conv_transpose(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0, groups: int = 1, dilation: Any = 1
) -> Recipe:
    recipe = _conv(input, weight, bias, stride, padding, dilation, groups)
    return recipe._replace(attrs=recipe.attrs | {"output_padding": _tuple(output_padding, len(recipe.attrs["kernel"]))})


def _convolution(input: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool, output_padding: Any, groups: int) -> Recipe:
    if transposed:
        return _conv_transpose(input, weight, bias, stride, padding, output_padding, groups, dilation)._replace(op="ConvTranspose")
    return _conv(input, weight, bias, stride, padding, dilation, groups)


def _max_pool(n: int) -> Callable[..., Recipe]:
    def recipe(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False, **_: Any) -> Recipe:
        kernel, wide = _tuple(kernel_size, n), _tuple(dilation, n)
        attrs = {"kernel": kernel, "stride": _tuple(stride or kernel, n), "padding": _pairs(padding, kernel, wide), "dilation": wide}
        return Recipe((input,), attrs)

    return recipe


def _avg_pool(n: int) -> Callable[..., Recipe]:
    def recipe(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True, *_: Any) -> Recipe:
        kernel = _tuple(kernel_size, n)
        pairs = _pairs(padding, kernel, (1,) * n)
        attrs: dict[str, Attr] = {"kernel": kernel, "stride": _tuple(stride or kernel, n), "padding": pairs}
        return Recipe((input,), attrs | ({"include_pad": bool(count_include_pad)} if any(map(any, pairs)) else {}))

    return recipe


def _lp_pool(n: int) -> Callable[..., Recipe]:
    def recipe(input: Tensor, norm_type: Number, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Recipe:
        kernel = _tuple(kernel_size, n)
        return Recipe((input,), {"p": float(norm_type), "kernel": kernel, "stride": _tuple(stride or kernel, n)})

    return recipe


def _sliding(name: str) -> Callable[..., Recipe]:
    def recipe(input: Tensor, *args: Any, kernel_size: Any = None, dilation: Any = 1, padding: Any = 0, stride: Any = 1, **_: Any) -> Recipe:
        sizes = [kernel_size, dilation, padding, stride]
        given = args[1:] if name == "fold" else args  # fold's first argument is the output size
        for place, value in enumerate(given):
            sizes[place] = value
        kernel, wide = _tuple(sizes[0], 2), _tuple(sizes[1], 2)
        return Recipe((input,), {"kernel": kernel, "stride": _tuple(sizes[3], 2), "padding": _pairs(sizes[2], kernel, wide), "dilation": wide})

    return recipe


def _weighted(input: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, *_: Any, **__: Any) -> Recipe:
    return Recipe((input,), {}, (weight, bias))


def _running_norm(input: Tensor, running_mean: Any, running_var: Any, weight: Tensor | None = None, bias: Tensor | None = None, *_: Any, **__: Any) -> Recipe:
    return Recipe((input,), {}, (weight, bias))


def _layer_norm(input: Tensor, normalized_shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, *_: Any, **__: Any) -> Recipe:
    return Recipe((input,), {"dims": len(normalized_shape)}, (weight, bias))


def _rms_norm(input: Tensor, normalized_shape: Any, weight: Tensor | None = None, *_: Any, **__: Any) -> Recipe:
    return Recipe((input,), {"dims": len(normalized_shape)}, (weight,))


def _group_norm(input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, *_: Any, **__: Any) -> Recipe:
    return Recipe((input,), {"groups": int(num_groups)}, (weight, bias))


def _bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Recipe:
    return Recipe((input1, input2), {}, (weight, bias))


def _table_first(weight: Tensor, indices: Tensor, *_: Any, **__: Any) -> Recipe:
    return Recipe((indices,), {}, (weight,))


def _embedding_bag(input: Tensor, weight: Tensor, *_: Any, **__: Any) -> Recipe:
    return _weighted(input, weight) if weight.is_floating_point() else _weighted(weight, input)


def _recurrent(input: Tensor, hx: Any, weights: Any, has_biases: Any, layers: Any, dropout: float, training: bool, bidirectional: bool, *_: bool) -> Recipe:
    states = tuple(hx) if isinstance(hx, Sequence) else (hx,)
    hidden = weights[1].shape[0] // (weights[0].shape[0] // states[-1].shape[-1])
    return Recipe((input, *states), {"hidden": hidden, "layers": layers, "bidirectional": bool(bidirectional)}, tuple(weights))


def _cell(input: Tensor, hx: Any, *weights: Any) -> Recipe:
    states = tuple(hx) if isinstance(hx, Sequence) else (hx,)
    return Recipe((input, *states), {"hidden": states[0].shape[-1], "layers": 1, "bidirectional": False}, weights)


def _scalar(name: str, default: Number) -> Callable[..., Recipe]:
    def recipe(input: Tensor, value: Number = default, *_: Any, **named: Any) -> Recipe:
        found = named.get("negative_slope", named.get("alpha", value))
        return Recipe((input,), {name: float(found)})

    return recipe


def _rrelu(input: Tensor, lower: Number = 1 / 8, upper: Number = 1 / 3, *_: Any, **__: Any) -> Recipe:
    return Recipe((input,), {"slope": (lower + upper) / 2})


def _hardtanh(input: Tensor, min_val: Number = -1, max_val: Number = 1, *_: Any, **__: Any) -> Recipe:
    return Recipe((input,)) if (min_val, max_val) == (-1, 1) else _clamp(input, min_val, max_val)


def _clamp(input: Tensor, min: Any = None, max: Any = None, **_: Any) -> Recipe:
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        return Recipe((input, min, max), op="Clip")
    bounds = {name: float(value) for name, value in (("min", min), ("max", max)) if value is not None}
    return Recipe((input,), op="ReLU6") if bounds == {"min": 0, "max": 6} else Recipe((input,), bounds, op="Clip")


def _clamp_max(input: Tensor, max: Any, **_: Any) -> Recipe:
    return _clamp(input, None, max)


def _gelu(input: Tensor, approximate: str = "none") -> Recipe:
    return Recipe((input,), {"tanh": True} if approximate == "tanh" else {})


def _along(default: int | None) -> Callable[..., Recipe]:
    def recipe(input: Tensor, dim: Any = default, *_: Any, **__: Any) -> Recipe:
        if dim is None:  # the rule of torch.nn.functional before dim was obligatory
            dim = 0 if input.dim() in (0, 1, 3) else 1
        return Recipe((input,), {"size": input.shape[dim] if input.dim() else 1})

    return recipe


def _gumbel(logits: Tensor, tau: Number = 1, hard: bool = False, eps: Number = 0, dim: int = -1) -> Recipe:
    return Recipe((logits,), {"size": logits.shape[dim]})


def _plain_number(value: Any) -> float | str:
    return str(value) if isinstance(value, complex) else float(value)


def _binary(op: str, swapped: bool = False) -> Callable[..., Recipe]:
    """Arithmetic of two operands in one form: x - c is Add of -c, x / c is Mul by 1/c, what has the scalar on the left is `reverse`."""

    def recipe(input: Any, other: Any, *, alpha: Number = 1, rounding_mode: str | None = None, **_: Any) -> Recipe:
        name = "FloorDiv" if rounding_mode else op
        left, right = (other, input) if swapped else (input, other)
        scaled: dict[str, Attr] = {"alpha": float(alpha)} if alpha != 1 else {}
        if isinstance(left, Tensor) and isinstance(right, Tensor):
            return Recipe((left, right), scaled, op=name)
        reverse = not isinstance(left, Tensor)
        tensor, number = (right, left) if reverse else (left, right)
        if isinstance(number, Tensor) or not isinstance(tensor, Tensor):
            return Recipe((input, other), op=name)
        scalar = _plain_number(number)
        if isinstance(scalar, float) and not reverse:
            if name in ("Add", "Sub"):
                name, scalar = "Add", scalar * alpha * (-1 if name == "Sub" else 1)
            elif name == "Div" and scalar:
                name, scalar = "Mul", 1 / scalar
        attrs: dict[str, Attr] = {"scalar": scalar}
        return Recipe((tensor,), attrs | ({"reverse": True} if reverse and name not in ("Add", "Mul") else {}), op=name)

    return recipe


def _square(input: Tensor, **_: Any) -> Recipe:
    return Recipe((input,), {"scalar": 2.0}, op="Pow")


def _compare(input: Tensor, other: Any, **_: Any) -> Recipe:
    return Recipe((input, other)) if isinstance(other, Tensor) else Recipe((input,), {"scalar": _plain_number(other)})


def _dims(input: Tensor, dim: Any) -> tuple[int, ...]:
    if dim is None or isinstance(dim, bool) or dim == ():
        return tuple(range(input.dim()))
    return tuple(d % max(input.dim(), 1) for d in (dim if isinstance(dim, Sequence) else (dim,)))


def _reduce(input: Tensor, dim: Any = None, *_: Any, **named: Any) -> Recipe:
    dims = _dims(input, named.get("axis", dim))
    return Recipe((input,), {"dims": len(dims)}, dims=dims)


def _extremum(op: str) -> Callable[..., Recipe]:
    def recipe(input: Tensor, dim: Any = None, *args: Any, other: Any = None, **named: Any) -> Recipe:
        second = dim if isinstance(dim, Tensor) else other
        return _reduce(input, dim, *args, **named) if second is None else Recipe((input, second), op=op)

    return recipe


def _norm(input: Tensor, p: Any = None, dim: Any = None, *_: Any, **__: Any) -> Recipe:
    return _reduce(input, dim)


def _matmul(input: Tensor, other: Tensor, **_: Any) -> Recipe:
    return Recipe((input, other), {"inner": input.shape[-1]}, like_linear=other.dim() == 2)


def _rmatmul(input: Tensor, other: Tensor) -> Recipe:
    return _matmul(other, input)._replace(op="MatMul")


def _outer(input: Tensor, other: Tensor, **_: Any) -> Recipe:
    return Recipe((input, other), {"inner": 1})


def _einsum(equation: str, *operands: Any) -> Recipe:
    tensors = tuple(operands[0]) if len(operands) == 1 and not isinstance(operands[0], Tensor) else operands
    left, _, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) == 1:
        return Recipe(tensors, op="Transpose") if len(right) == len(left) else Recipe(tensors, {"dims": len(left) - len(right)}, op="Sum")
    if "->" not in equation:
        right = "".join(c for c in left if left.count(c) == 1)
    a, b = (term.replace("...", "") for term in terms)
    sizes = dict(zip(reversed(a), reversed(tensors[0].shape), strict=False)) if "..." not in terms[0] else _named_sizes(terms[0], tensors[0])
    contracted = [c for c in a if c in b and c not in right]
    like_linear = len(b) == 2 and contracted == [terms[0][-1]] and right[:-1] == terms[0][:-1] and right[-1:] in b
    return Recipe(tensors, {"inner": prod(sizes[c] for c in contracted)}, like_linear=like_linear)


def _named_sizes(term: str, tensor: Tensor) -> dict[str, int]:
    before, _, after = term.partition("...")
    return dict(zip(before, tensor.shape, strict=False)) | dict(zip(reversed(after), reversed(tensor.shape), strict=False))


def _tensordot(a: Tensor, b: Tensor, dims: Any = 2, **_: Any) -> Recipe:
    contracted = a.shape[-dims:] if isinstance(dims, int) else [a.shape[d] for d in dims[0]]
    return Recipe((a, b), {"inner": prod(contracted) if dims else 1})


def _attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0, is_causal: bool = False, **_: Any) -> Recipe:
    return Recipe((query, key, value, attn_mask), {"causal": bool(is_causal)})


def _interpolate(input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", *_: Any, **__: Any) -> Recipe:
    return Recipe((input,), {"mode": mode})


def _upsample(mode: str) -> Callable[..., Recipe]:
    return lambda input, *_, **__: Recipe((input,), {"mode": mode})


def _pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: Number | None = None) -> Recipe:
    """`padding` has a pair for every axis here; the recorder keeps those of the spatial axes once it knows which they are."""
    given = [(int(before), int(after)) for before, after in list(pairwise(pad))[::2]]
    pairs = tuple(reversed(given + [(0, 0)] * (input.dim() - len(given))))
    attrs: dict[str, Attr] = {"padding": pairs, "mode": mode}
    return Recipe((input,), attrs | ({"value": float(value or 0)} if mode == "constant" else {}))


def _constant_pad(input: Tensor, pad: Sequence[int], value: Number = 0) -> Recipe:
    return _pad(input, pad, "constant", value)


def _copy(target: Tensor, source: Tensor, *_: Any) -> Recipe:
    return Recipe((source,), op="Identity" if source.shape == target.shape else "Expand")


RECIPES: dict[str, Callable[..., Recipe]] = {
    **{f"conv{n}d": _conv for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": _conv_transpose for n in (1, 2, 3)},
    "convolution": _convolution,
    **{f"max_pool{n}d": _max_pool(n) for n in (1, 2, 3)},
    **{f"avg_pool{n}d": _avg_pool(n) for n in (1, 2, 3)},
    **{f"lp_pool{n}d": _lp_pool(n) for n in (1, 2, 3)},
    "F.unfold": _sliding("unfold"), "im2col": _sliding("unfold"), "F.fold": _sliding("fold"), "col2im": _sliding("fold"),
    "linear": _weighted, "bilinear": _bilinear, "prelu": _weighted,
    "F.batch_norm": _running_norm, "batch_norm": _weighted, "F.instance_norm": _running_norm, "instance_norm": _weighted,
    "layer_norm": _layer_norm, "rms_norm": _rms_norm, "group_norm": _group_norm,
    "F.embedding": lambda input, weight, *_, **__: Recipe((input,), {}, (weight,)), "embedding": _table_first,
    "F.embedding_bag": _embedding_bag, "embedding_bag": _table_first,
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _recurrent),
    **dict.fromkeys(("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"), _cell),
    "leaky_relu": _scalar("slope", 0.01), "elu": _scalar("alpha", 1.0), "celu": _scalar("alpha", 1.0), "rrelu": _rrelu,
    "hardtanh": _hardtanh, "gelu": _gelu, "softmax": _along(None), "softmin": _along(None), "log_softmax": _along(None), "glu": _along(-1),
    "gumbel_softmax": _gumbel, "clamp": _clamp, "clip": _clamp, "clamp_min": _clamp, "clamp_max": _clamp_max,
    **dict.fromkeys(("add", "iadd", "radd"), _binary("Add")),
    **dict.fromkeys(("sub", "subtract", "isub"), _binary("Sub")), "rsub": _binary("Sub", swapped=True),
    **dict.fromkeys(("mul", "multiply", "imul", "rmul"), _binary("Mul")),
    **dict.fromkeys(("div", "divide", "true_divide", "truediv", "itruediv", "idiv"), _binary("Div")),
    **dict.fromkeys(("rdiv", "rtruediv"), _binary("Div", swapped=True)),
    **dict.fromkeys(("floor_divide", "floordiv", "ifloordiv"), _binary("FloorDiv")), "rfloordiv": _binary("FloorDiv", swapped=True),
    **dict.fromkeys(("remainder", "fmod", "mod", "imod"), _binary("Mod")), "rmod": _binary("Mod", swapped=True),
    **dict.fromkeys(("pow", "ipow", "float_power"), _binary("Pow")), "rpow": _binary("Pow", swapped=True), "square": _square,
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge", "greater", "less", "equal"), _compare),
    **dict.fromkeys("mean nanmean sum nansum prod amax amin argmax argmin var std var_mean std_mean logsumexp any all count_nonzero".split(), _reduce),
    "max": _extremum("Maximum"), "min": _extremum("Minimum"), "norm": _norm, "linalg_norm": _norm, "linalg_vector_norm": _norm,
    **dict.fromkeys(("matmul", "mm", "bmm", "mv", "dot", "inner"), _matmul), "rmatmul": _rmatmul, "outer": _outer,
    "einsum": _einsum, "tensordot": _tensordot, "scaled_dot_product_attention": _attention,
    "interpolate": _interpolate, "upsample": _interpolate, 
    **{f"upsample_{mode}{n}": _upsample(mode) for mode in ("nearest", "linear", "bilinear", "bicubic", "trilinear") for n in ("", "1d", "2d", "3d")},
    "pad": _pad, "constant_pad_nd": _constant_pad, "copy": _copy,
}  # fmt: skip
