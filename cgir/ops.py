"""The vocabulary: one table, a row per primitive operator. A new operator is one new row.

`torch` lists the names an operator goes by in PyTorch functions, tensor methods and ATen, without a trailing underscore and
without the dunder of Python operators (`Tensor.__iadd__`, `add_`, `torch.add` and `aten::add` are all "add").
FLOP formulas count products only, a multiply-add as 2, for one example.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import NamedTuple

from .graph import NodeKind

Cost = Callable[[NodeKind], int]


def conv_flops(kind: NodeKind) -> int:
    """2 x output elements x kernel volume x input channels of one group."""
    return 2 * prod(kind.shape) * prod(kind.attr("kernel")) * kind.in_shapes[0][0] // kind.attr("groups")


def conv_transpose_flops(kind: NodeKind) -> int:
    """2 x input elements x kernel volume x output channels of one group."""
    return 2 * prod(kind.in_shapes[0]) * prod(kind.attr("kernel")) * kind.shape[0] // kind.attr("groups")


def linear_flops(kind: NodeKind) -> int:
    """2 x output elements x input features."""
    return 2 * prod(kind.shape) * kind.in_shapes[0][0]


def bilinear_flops(kind: NodeKind) -> int:
    """2 x output elements x (in1 x in2 + in2): the product with the weight, then with the second input."""
    first, second = kind.in_shapes[0][0], kind.in_shapes[1][0]
    return 2 * prod(kind.shape) * (first * second + second)


def matmul_flops(kind: NodeKind) -> int:
    """2 x output elements x length of the contracted dimension, which frontends record as `inner`."""
    return 2 * prod(kind.shape) * kind.attr("inner")


def attention_flops(kind: NodeKind) -> int:
    """Two products, scores and values: in_shapes are (heads, T, d) of query, key and value."""
    query, key, value = kind.in_shapes[:3]
    return 2 * prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def recurrent_flops(kind: NodeKind) -> int:
    """2 x weights that multiply (matrices, not biases) x time steps."""
    steps = prod(kind.in_shapes[0][1:])
    return 2 * steps * sum(prod(shape) for shape in kind.param_shapes if len(shape) == 2)


class Op(NamedTuple):
    """One row: see the module docstring. `commutative` operators ignore the order of their inputs."""

    name: str
    category: str
    torch: str = ""
    weights: tuple[str, ...] = ()
    cost: Cost | None = None
    commutative: bool = False


WEIGHT_BIAS = ("weight", "bias")

_ROWS = (
    # --- ends of the graph, and tensors that do not depend on the inputs
    Op("Input", "io"),
    Op("Output", "io"),
    Op("Param", "source", weights=("weight",)),
    Op("Constant", "source"),
    # --- products with weights
    Op("Conv", "conv", "conv1d conv2d conv3d convolution", WEIGHT_BIAS, conv_flops),
    Op("ConvTranspose", "conv", "conv_transpose1d conv_transpose2d conv_transpose3d", WEIGHT_BIAS, conv_transpose_flops),
    Op("Linear", "linear", "linear", WEIGHT_BIAS, linear_flops),
    Op("Bilinear", "linear", "bilinear", WEIGHT_BIAS, bilinear_flops),
    Op("Embedding", "embedding", "embedding embedding_bag", ("weight",)),
    Op("LSTM", "recurrent", "lstm lstm_cell", ("weights",), recurrent_flops),
    Op("GRU", "recurrent", "gru gru_cell", ("weights",), recurrent_flops),
    Op("RNN", "recurrent", "rnn_tanh rnn_relu rnn_tanh_cell rnn_relu_cell", ("weights",), recurrent_flops),
    # --- products of two activations
    Op("MatMul", "matmul", "matmul bmm mm mv dot addmm addbmm baddbmm einsum tensordot inner outer", cost=matmul_flops),
    Op("Attention", "attention", "scaled_dot_product_attention", cost=attention_flops),
    # --- normalisation
    Op("BatchNorm", "norm", "batch_norm", WEIGHT_BIAS),
    Op("LayerNorm", "norm", "layer_norm", WEIGHT_BIAS),
    Op("RMSNorm", "norm", "rms_norm", ("weight",)),
    Op("GroupNorm", "norm", "group_norm", WEIGHT_BIAS),
    Op("InstanceNorm", "norm", "instance_norm", WEIGHT_BIAS),
    Op("LocalResponseNorm", "norm", "local_response_norm"),
    Op("L2Norm", "norm", "normalize"),
    # --- activations
    Op("ReLU", "activation", "relu"),
    Op("ReLU6", "activation", "relu6"),
    Op("LeakyReLU", "activation", "leaky_relu rrelu"),
    Op("PReLU", "activation", "prelu", ("weight",)),
    Op("ELU", "activation", "elu"),
    Op("SELU", "activation", "selu"),
    Op("CELU", "activation", "celu"),
    Op("GELU", "activation", "gelu"),
    Op("SiLU", "activation", "silu"),
    Op("Mish", "activation", "mish"),
    Op("Sigmoid", "activation", "sigmoid"),
    Op("LogSigmoid", "activation", "logsigmoid log_sigmoid"),
    Op("HardSigmoid", "activation", "hardsigmoid"),
    Op("HardSwish", "activation", "hardswish"),
    Op("HardTanh", "activation", "hardtanh"),
    Op("Tanh", "activation", "tanh"),
    Op("Softplus", "activation", "softplus"),
    Op("Softsign", "activation", "softsign"),
    Op("Softmax", "activation", "softmax softmin gumbel_softmax"),
    Op("LogSoftmax", "activation", "log_softmax"),
    Op("GLU", "activation", "glu"),
    Op("HardShrink", "activation", "hardshrink"),
    Op("SoftShrink", "activation", "softshrink"),
    Op("TanhShrink", "activation", "tanhshrink"),
    Op("Threshold", "activation", "threshold"),
    # --- pooling and resampling
    Op("MaxPool", "pool", "max_pool1d max_pool2d max_pool3d"),
    Op("AvgPool", "pool", "avg_pool1d avg_pool2d avg_pool3d"),
    Op("LPPool", "pool", "lp_pool1d lp_pool2d"),
    Op("AdaptiveMaxPool", "pool", "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d"),
    Op("AdaptiveAvgPool", "pool", "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d"),
    Op("GlobalAvgPool", "pool"),
    Op("GlobalMaxPool", "pool"),
    Op(
        "Resize",
        "resample",
        "interpolate upsample upsample_nearest upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear "
        "upsample_bilinear2d upsample_bicubic2d upsample_trilinear3d",
    ),
    Op("GridSample", "resample", "grid_sample affine_grid"),
    Op("Unfold", "resample", "unfold im2col"),
    Op("Fold", "resample", "fold col2im"),
    Op("Pad", "resample", "pad constant_pad_nd"),
    # --- arithmetic of two or more tensors, or of one and a scalar (attribute `scalar`)
    Op("Add", "arithmetic", "add radd iadd", commutative=True),
    Op("Sub", "arithmetic", "sub subtract rsub isub"),
    Op("Mul", "arithmetic", "mul multiply rmul imul", commutative=True),
    Op("Div", "arithmetic", "div divide true_divide truediv rtruediv itruediv rdiv idiv"),
    Op("FloorDiv", "arithmetic", "floor_divide floordiv rfloordiv"),
    Op("Mod", "arithmetic", "remainder fmod mod rmod"),
    Op("Pow", "arithmetic", "pow rpow ipow float_power square"),
    Op("Maximum", "arithmetic", "maximum fmax", commutative=True),
    Op("Minimum", "arithmetic", "minimum fmin", commutative=True),
    Op("Where", "arithmetic", "where masked_fill masked_scatter"),
    Op("Lerp", "arithmetic", "lerp addcmul addcdiv"),
    Op("Compare", "arithmetic", "eq ne lt le gt ge greater less equal isin"),
    Op(
        "Logical",
        "arithmetic",
        "logical_and logical_or logical_xor logical_not bitwise_and bitwise_or bitwise_xor bitwise_not and or xor rand ror invert isnan isinf isfinite",
    ),
    # --- functions of one tensor
    Op("Neg", "unary", "neg negative"),
    Op("Abs", "unary", "abs absolute"),
    Op("Exp", "unary", "exp exp2 expm1"),
    Op("Log", "unary", "log log2 log10 log1p"),
    Op("Sqrt", "unary", "sqrt"),
    Op("Rsqrt", "unary", "rsqrt"),
    Op("Reciprocal", "unary", "reciprocal"),
    Op("Sin", "unary", "sin"),
    Op("Cos", "unary", "cos"),
    Op("Trig", "unary", "tan asin acos atan atan2 sinh cosh asinh acosh atanh sinc"),
    Op("Erf", "unary", "erf erfc"),
    Op("Round", "unary", "floor ceil round trunc frac"),
    Op("Sign", "unary", "sign sgn heaviside"),
    Op("Clip", "unary", "clamp clip clamp_min clamp_max"),
    Op("CumSum", "unary", "cumsum cumprod logcumsumexp"),
    Op(
        "FFT",
        "unary",
        "fft_fft fft_ifft fft_rfft fft_irfft fft_fft2 fft_ifft2 fft_rfft2 fft_irfft2 fft_fftn fft_ifftn fft_rfftn fft_irfftn stft istft",
    ),
    Op("Sort", "unary", "sort argsort topk"),
    # --- reductions
    Op("Mean", "reduction", "mean nanmean"),
    Op("Sum", "reduction", "sum nansum"),
    Op("Prod", "reduction", "prod"),
    Op("ReduceMax", "reduction", "max amax"),
    Op("ReduceMin", "reduction", "min amin"),
    Op("ArgMax", "reduction", "argmax argmin"),
    Op("Norm", "reduction", "norm linalg_norm linalg_vector_norm"),
    Op("Variance", "reduction", "var std var_mean std_mean"),
    Op("LogSumExp", "reduction", "logsumexp"),
    Op("Any", "reduction", "any all count_nonzero"),
    # --- joining and picking
    Op("Concat", "join", "cat concat concatenate stack hstack vstack dstack column_stack"),
    Op("Gather", "join", "gather index_select take take_along_dim index"),
    Op("Scatter", "join", "scatter scatter_add scatter_reduce index_add index_copy index_put index_fill setitem masked_select select_scatter slice_scatter"),
    Op("OneHot", "join", "one_hot bucketize searchsorted"),
    # --- moved, renamed or copied, never computed: contracted in canonical form
    Op(
        "Reshape",
        "movement",
        "reshape view reshape_as view_as flatten unflatten ravel squeeze unsqueeze atleast_1d atleast_2d atleast_3d view_as_real view_as_complex",
    ),
    Op(
        "Transpose",
        "movement",
        "permute transpose t T mT H mH swapaxes swapdims movedim moveaxis adjoint",
    ),
    Op(
        "Slice",
        "movement",
        "getitem select narrow split split_with_sizes tensor_split chunk unbind slice diagonal unsafe_chunk unsafe_split real imag",
    ),
    Op("Expand", "movement", "expand expand_as broadcast_to repeat repeat_interleave tile broadcast_tensors meshgrid"),
    Op("Shuffle", "movement", "pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle roll flip fliplr flipud rot90 tril triu"),
    # --- identities at inference
    Op("Identity", "identity", "clone contiguous alias detach deepcopy requires_grad data identity lift_fresh lift_fresh_copy positive pos"),
    Op("Dropout", "identity", "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout native_dropout"),
    Op("Cast", "identity", "to float double half bfloat16 long int bool short char byte type type_as cpu cuda view_dtype"),
    # --- what the table does not know: kept with its own name and shapes
    Op("Opaque", "opaque"),
)

OPS: dict[str, Op] = {op.name: op for op in _ROWS}
INDEX: dict[str, int] = {op.name: index for index, op in enumerate(_ROWS)}
TORCH_NAMES: dict[str, str] = {alias: op.name for op in _ROWS for alias in op.torch.split()}

if len(OPS) != len(_ROWS) or len(TORCH_NAMES) != sum(len(op.torch.split()) for op in _ROWS):
    raise RuntimeError("the operator table names something twice")
