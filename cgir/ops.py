"""Operator vocabulary: a table with one row per primitive operator. A new operator is one new row.

`torch` lists the names of an operator in PyTorch functions, tensor methods and ATen, without a trailing underscore
and without the dunder of Python operators (`Tensor.__iadd__`, `add_`, `torch.add` and `aten::add` are all "add");
`onnx` are operators of ONNX's default domain, `tf` those of TensorFlow graphs, `keras` classes of Keras layers and
operations. FLOP formulas count products only, a multiply-add as 2, for one example.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Literal, NamedTuple

from .graph import NodeKind

Cost = Callable[[NodeKind], int]
Layout = Literal["inherited", "channels_second", "channels_last", "unpermuted"]


def conv_flops(kind: NodeKind) -> int:
    """2 x output elements x kernel volume x input channels of one group."""
    return 2 * prod(kind.shape) * prod(kind.attr("kernel")) * kind.in_shapes[0][0] // int(kind.attr("groups"))


def conv_transpose_flops(kind: NodeKind) -> int:
    """2 x input elements x kernel volume x output channels of one group."""
    return 2 * prod(kind.in_shapes[0]) * prod(kind.attr("kernel")) * kind.shape[0] // int(kind.attr("groups"))


def linear_flops(kind: NodeKind) -> int:
    """2 x output elements x input features."""
    return 2 * prod(kind.shape) * kind.in_shapes[0][0]


def bilinear_flops(kind: NodeKind) -> int:
    """2 x output elements x (in1 x in2 + in2): the product with the weight, then with the second input."""
    first, second = kind.in_shapes[0][0], kind.in_shapes[1][0]
    return 2 * prod(kind.shape) * (first * second + second)


def matmul_flops(kind: NodeKind) -> int:
    """2 x output elements x length of the contracted dimension, which frontends record as `inner`.

    With a sparse matrix, `sparse` are its elements and the size of the axis that it keeps: 2 x elements x other axes.
    """
    if sparse := kind.attr("sparse"):
        return 2 * prod(kind.shape) * int(sparse[0]) // max(int(sparse[1]), 1)
    return 2 * prod(kind.shape) * int(kind.attr("inner"))


def attention_flops(kind: NodeKind) -> int:
    """Two products, scores and values: in_shapes are (heads, T, d) of query, key and value.

    A query made of parameters alone is no input.
    """
    (*_, inner), (*_, length, _) = kind.in_shapes[0], kind.in_shapes[min(1, len(kind.in_shapes) - 1)]
    return 2 * prod(kind.shape[:-1]) * length * (inner + kind.shape[-1])


def recurrent_flops(kind: NodeKind) -> int:
    """2 x weights that multiply (matrices, not biases) x time steps."""
    steps = prod(kind.in_shapes[0][1:])
    return 2 * steps * sum(prod(shape) for shape in kind.param_shapes if len(shape) == 2)


def opaque_flops(kind: NodeKind) -> int:
    """The attribute `flops`, which frontends set where they know the cost; see `cgir.Graph.gaps` where they do not."""
    return int(kind.attr("flops", 0))


class Op(NamedTuple):
    """One row: see the module docstring.

    `commutative` operators ignore the order of their inputs. `layout` is the position of the channel axis in
    inputs and output: "channels_second" behind the batch (last where the framework's call says so), "channels_last", or
    "inherited" from its inputs; "unpermuted" operators keep the framework's own order of axes (heads, time, features).
    """

    name: str
    category: str
    torch: str = ""
    weights: tuple[str, ...] = ()
    cost: Cost | None = None
    commutative: bool = False
    onnx: str = ""
    keras: str = ""
    tf: str = ""
    layout: Layout = "inherited"


WEIGHT_BIAS = ("weight", "bias")

_ROWS = (
    # --- ends of the graph, and tensors that do not depend on the inputs
    Op("Input", "io"),
    Op("Output", "io"),
    Op("Param", "source", weights=("weight",)),
    Op("Constant", "source"),
    # --- products with weights
    Op("Conv", "conv", "conv1d conv2d conv3d convolution", weights=WEIGHT_BIAS, cost=conv_flops,
       onnx="Conv ConvInteger QLinearConv",
       keras="Conv1D Conv2D Conv3D DepthwiseConv1D DepthwiseConv2D Conv DepthwiseConv",
       tf="Conv2D Conv3D DepthwiseConv2dNative", layout="channels_second"),
    Op("ConvTranspose", "conv", "conv_transpose1d conv_transpose2d conv_transpose3d", weights=WEIGHT_BIAS,
       cost=conv_transpose_flops, onnx="ConvTranspose",
       keras="Conv1DTranspose Conv2DTranspose Conv3DTranspose ConvTranspose",
       tf="Conv2DBackpropInput Conv3DBackpropInputV2", layout="channels_second"),
    Op("Linear", "linear", "linear", weights=WEIGHT_BIAS, cost=linear_flops, onnx="Gemm", keras="Dense EinsumDense",
       layout="channels_last"),
    Op("Bilinear", "linear", "bilinear", weights=WEIGHT_BIAS, cost=bilinear_flops, layout="channels_last"),
    Op("Embedding", "embedding", "embedding embedding_bag", weights=("weight",), keras="Embedding",
       layout="channels_last"),
    Op("LSTM", "recurrent", "lstm lstm_cell", weights=("weights",), cost=recurrent_flops, onnx="LSTM", keras="LSTM",
       layout="channels_last"),
    Op("GRU", "recurrent", "gru gru_cell", weights=("weights",), cost=recurrent_flops, onnx="GRU", keras="GRU",
       layout="channels_last"),
    Op("RNN", "recurrent", "rnn_tanh rnn_relu rnn_tanh_cell rnn_relu_cell", weights=("weights",), cost=recurrent_flops,
       onnx="RNN", keras="SimpleRNN", layout="channels_last"),
    # --- products of two activations
    Op("MatMul", "matmul", "matmul bmm mm mv dot vdot addmm addbmm baddbmm einsum tensordot inner outer",
       cost=matmul_flops, onnx="MatMul MatMulInteger QLinearMatMul", keras="Matmul Dot Tensordot Einsum Inner Outer",
       tf="MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3", layout="unpermuted"),
    Op("Attention", "attention", "scaled_dot_product_attention", cost=attention_flops, onnx="Attention",
       keras="MultiHeadAttention GroupedQueryAttention DotProductAttention", layout="unpermuted"),
    # --- normalisation
    Op("BatchNorm", "norm", "batch_norm", weights=WEIGHT_BIAS, onnx="BatchNormalization",
       keras="BatchNormalization BatchNorm", tf="FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3",
       layout="channels_second"),
    Op("LayerNorm", "norm", "layer_norm", weights=WEIGHT_BIAS, onnx="LayerNormalization",
       keras="LayerNormalization LayerNorm", layout="channels_last"),
    Op("RMSNorm", "norm", "rms_norm", weights=("weight",), onnx="RMSNormalization SimplifiedLayerNormalization",
       keras="RMSNormalization RMSNorm", layout="channels_last"),
    Op("GroupNorm", "norm", "group_norm", weights=WEIGHT_BIAS, onnx="GroupNormalization", keras="GroupNormalization",
       layout="channels_second"),
    Op("InstanceNorm", "norm", "instance_norm", weights=WEIGHT_BIAS, onnx="InstanceNormalization",
       layout="channels_second"),
    Op("LocalResponseNorm", "norm", "local_response_norm", onnx="LRN", tf="LRN", layout="channels_second"),
    Op("L2Norm", "norm", "normalize", onnx="LpNormalization", keras="UnitNormalization Normalize"),
    # --- activations
    Op("ReLU", "activation", "relu", onnx="Relu", keras="ReLU Relu", tf="Relu"),
    Op("ReLU6", "activation", "relu6", keras="Relu6", tf="Relu6"),
    Op("LeakyReLU", "activation", "leaky_relu rrelu", onnx="LeakyRelu", keras="LeakyReLU LeakyRelu", tf="LeakyRelu"),
    Op("PReLU", "activation", "prelu", weights=("weight",), onnx="PRelu", keras="PReLU", layout="channels_second"),
    Op("ELU", "activation", "elu", onnx="Elu", keras="ELU Elu", tf="Elu"),
    Op("SELU", "activation", "selu", onnx="Selu", keras="Selu", tf="Selu"),
    Op("CELU", "activation", "celu", onnx="Celu", keras="Celu"),
    Op("GELU", "activation", "gelu", onnx="Gelu", keras="Gelu"),
    Op("SiLU", "activation", "silu", onnx="Swish", keras="Silu"),
    Op("Mish", "activation", "mish", onnx="Mish", keras="Mish"),
    Op("Sigmoid", "activation", "sigmoid", onnx="Sigmoid", keras="Sigmoid", tf="Sigmoid"),
    Op("LogSigmoid", "activation", "logsigmoid log_sigmoid", keras="LogSigmoid"),
    Op("HardSigmoid", "activation", "hardsigmoid", onnx="HardSigmoid", keras="HardSigmoid"),
    Op("HardSwish", "activation", "hardswish", onnx="HardSwish", keras="HardSilu"),
    Op("HardTanh", "activation", "hardtanh", keras="HardTanh"),
    Op("Tanh", "activation", "tanh", onnx="Tanh", keras="Tanh", tf="Tanh"),
    Op("Softplus", "activation", "softplus", onnx="Softplus", keras="Softplus", tf="Softplus"),
    Op("Softsign", "activation", "softsign", onnx="Softsign", keras="Softsign", tf="Softsign"),
    Op("Softmax", "activation", "softmax softmin gumbel_softmax", onnx="Softmax", keras="Softmax", tf="Softmax"),
    Op("LogSoftmax", "activation", "log_softmax", onnx="LogSoftmax", keras="LogSoftmax", tf="LogSoftmax"),
    Op("GLU", "activation", "glu", keras="Glu"),
    Op("HardShrink", "activation", "hardshrink", onnx="Shrink", keras="HardShrink"),
    Op("SoftShrink", "activation", "softshrink", keras="SoftShrink"),
    Op("TanhShrink", "activation", "tanhshrink", keras="TanhShrink"),
    Op("Threshold", "activation", "threshold", onnx="ThresholdedRelu", keras="Threshold"),
    # --- pooling and resampling
    Op("MaxPool", "pool", "max_pool1d max_pool2d max_pool3d", onnx="MaxPool",
       keras="MaxPooling1D MaxPooling2D MaxPooling3D MaxPool", tf="MaxPool MaxPoolV2 MaxPool3D",
       layout="channels_second"),
    Op("AvgPool", "pool", "avg_pool1d avg_pool2d avg_pool3d", onnx="AveragePool",
       keras="AveragePooling1D AveragePooling2D AveragePooling3D AveragePool", tf="AvgPool AvgPool3D",
       layout="channels_second"),
    Op("LPPool", "pool", "lp_pool1d lp_pool2d", onnx="LpPool", layout="channels_second"),
    Op("AdaptiveMaxPool", "pool", "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d",
       keras="AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D AdaptiveMaxPool",
       layout="channels_second"),
    Op("AdaptiveAvgPool", "pool", "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d",
       keras="AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D AdaptiveAveragePool",
       layout="channels_second"),
    Op("GlobalAvgPool", "pool", onnx="GlobalAveragePool",
       keras="GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D"),
    Op("GlobalMaxPool", "pool", onnx="GlobalMaxPool", keras="GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D"),
    Op("Resize", "resample",
       "interpolate upsample upsample_nearest upsample_nearest1d upsample_nearest2d upsample_nearest3d "
       "upsample_nearest_exact1d upsample_nearest_exact2d upsample_nearest_exact3d "
       "upsample_linear1d upsample_bilinear " "upsample_bilinear2d upsample_bicubic2d " "upsample_trilinear3d",
       onnx="Resize Upsample", keras="UpSampling1D UpSampling2D UpSampling3D Resizing Resize",
       tf="ResizeBilinear ResizeNearestNeighbor ResizeBicubic ResizeArea", layout="channels_second"),
    Op("GridSample", "resample", "grid_sample affine_grid", onnx="GridSample AffineGrid", layout="channels_second"),
    Op("Unfold", "resample", "unfold im2col", keras="Unfold ExtractPatches", tf="ExtractImagePatches",
       layout="channels_second"),
    Op("Fold", "resample", "fold col2im", onnx="Col2Im", keras="Fold", layout="channels_second"),
    Op("Pad", "resample", "pad constant_pad_nd", onnx="Pad", keras="ZeroPadding1D ZeroPadding2D ZeroPadding3D Pad",
       tf="Pad PadV2 MirrorPad"),
    # --- arithmetic of two or more tensors, or of one and a scalar (attribute `scalar`)
    Op("Add", "arithmetic", "add radd iadd", commutative=True, onnx="Add Sum", keras="Add",
       tf="Add AddV2 AddN BiasAdd BiasAddV1"),
    Op("Sub", "arithmetic", "sub subtract rsub isub", onnx="Sub", keras="Subtract", tf="Sub"),
    Op("Mul", "arithmetic", "mul multiply rmul imul", commutative=True, onnx="Mul", keras="Multiply", tf="Mul"),
    Op("Div", "arithmetic", "div divide true_divide truediv rtruediv itruediv rdiv idiv", onnx="Div",
       keras="Divide TrueDivide DivideNoNan", tf="Div RealDiv DivNoNan"),
    Op("FloorDiv", "arithmetic", "floor_divide floordiv rfloordiv", keras="FloorDivide", tf="FloorDiv"),
    Op("Mod", "arithmetic", "remainder fmod mod rmod", onnx="Mod", keras="Mod Fmod", tf="FloorMod Mod"),
    Op("Pow", "arithmetic", "pow rpow ipow float_power square", onnx="Pow", keras="Power Square", tf="Pow Square"),
    Op("Maximum", "arithmetic", "maximum fmax", commutative=True, onnx="Max", keras="Maximum", tf="Maximum"),
    Op("Minimum", "arithmetic", "minimum fmin", commutative=True, onnx="Min", keras="Minimum", tf="Minimum"),
    Op("Where", "arithmetic", "where masked_fill masked_scatter", onnx="Where", keras="Where", tf="Select SelectV2"),
    Op("Lerp", "arithmetic", "lerp addcmul addcdiv"),
    Op("Compare", "arithmetic", "eq ne lt le gt ge greater less equal isin",
       onnx="Equal Less LessOrEqual Greater GreaterOrEqual", keras="Equal NotEqual Less LessEqual Greater GreaterEqual",
       tf="Equal NotEqual Less LessEqual Greater GreaterEqual"),
    Op("Logical", "arithmetic",
       "logical_and logical_or logical_xor logical_not bitwise_and bitwise_or bitwise_xor bitwise_not "
       "and or xor rand ror invert isnan isinf isfinite",
       onnx="And Or Xor Not BitwiseAnd BitwiseOr BitwiseXor BitwiseNot BitShift IsNaN IsInf",
       keras="LogicalAnd LogicalOr LogicalNot LogicalXor Isnan Isinf Isfinite",
       tf="LogicalAnd LogicalOr LogicalNot IsNan IsInf IsFinite"),
    # --- functions of one tensor
    Op("Neg", "unary", "neg negative conj conj_physical", onnx="Neg", keras="Negative", tf="Neg"),
    Op("Abs", "unary", "abs absolute", onnx="Abs", keras="Absolute Abs", tf="Abs"),
    Op("Exp", "unary", "exp exp2 expm1", onnx="Exp", keras="Exp Exp2 Expm1", tf="Exp Expm1"),
    Op("Log", "unary", "log log2 log10 log1p", onnx="Log", keras="Log Log2 Log10 Log1p", tf="Log Log1p"),
    Op("Sqrt", "unary", "sqrt", onnx="Sqrt", keras="Sqrt", tf="Sqrt"),
    Op("Rsqrt", "unary", "rsqrt", keras="Rsqrt", tf="Rsqrt"),
    Op("Reciprocal", "unary", "reciprocal", onnx="Reciprocal", keras="Reciprocal", tf="Reciprocal Inv"),
    Op("Sin", "unary", "sin", onnx="Sin", keras="Sin", tf="Sin"),
    Op("Cos", "unary", "cos", onnx="Cos", keras="Cos", tf="Cos"),
    Op("Trig", "unary", "tan asin acos atan atan2 polar sinh cosh asinh acosh atanh sinc",
       onnx="Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh",
       keras="Tan Arcsin Arccos Arctan Arctan2 Sinh Cosh Arcsinh Arccosh Arctanh Sinc",
       tf="Tan Asin Acos Atan Atan2 Sinh Cosh Asinh Acosh Atanh"),
    Op("Erf", "unary", "erf erfc", onnx="Erf", keras="Erf Erfc", tf="Erf Erfc"),
    Op("Round", "unary", "floor ceil round trunc frac", onnx="Round Floor Ceil", keras="Round Floor Ceil Trunc",
       tf="Round Rint Floor Ceil"),
    Op("Sign", "unary", "sign sgn heaviside", onnx="Sign", keras="Sign", tf="Sign"),
    Op("Clip", "unary", "clamp clip clamp_min clamp_max", onnx="Clip", keras="Clip", tf="ClipByValue"),
    Op("CumSum", "unary", "cumsum cumprod logcumsumexp cummax cummin", onnx="CumSum CumProd", keras="Cumsum Cumprod",
       tf="Cumsum Cumprod"),
    Op("FFT", "unary", "fft_fft fft_ifft fft_rfft fft_irfft fft_fft2 fft_ifft2 fft_rfft2 fft_irfft2 fft_fftn fft_ifftn "
       "fft_rfftn fft_irfftn stft istft", onnx="DFT STFT", keras="FFT FFT2 IFFT2 RFFT IRFFT STFT ISTFT",
       tf="FFT FFT2D IFFT IFFT2D RFFT RFFT2D IRFFT IRFFT2D"),
    Op("Sort", "unary", "sort argsort topk", onnx="TopK", keras="Sort Argsort TopK", tf="TopKV2"),
    # --- reductions
    Op("Mean", "reduction", "mean nanmean", onnx="ReduceMean", keras="Mean Nanmean", tf="Mean"),
    Op("Sum", "reduction", "sum nansum", onnx="ReduceSum", keras="Sum Nansum", tf="Sum"),
    Op("Prod", "reduction", "prod", onnx="ReduceProd", keras="Prod", tf="Prod"),
    Op("ReduceMax", "reduction", "max amax", onnx="ReduceMax", keras="Max Amax Nanmax", tf="Max"),
    Op("ReduceMin", "reduction", "min amin", onnx="ReduceMin", keras="Min Amin Nanmin", tf="Min"),
    Op("ArgMax", "reduction", "argmax argmin", onnx="ArgMax ArgMin", keras="Argmax Argmin", tf="ArgMax ArgMin"),
    Op("Norm", "reduction", "norm linalg_norm linalg_vector_norm", onnx="ReduceL1 ReduceL2", keras="Norm",
       tf="EuclideanNorm"),
    Op("Variance", "reduction", "var std var_mean std_mean", keras="Var Std"),
    Op("LogSumExp", "reduction", "logsumexp", onnx="ReduceLogSumExp", keras="Logsumexp"),
    Op("Any", "reduction", "any all count_nonzero", keras="Any All CountNonzero", tf="Any All"),
    # --- joining and picking
    Op("Concat", "join", "cat concat concatenate stack hstack vstack dstack column_stack", onnx="Concat",
       keras="Concatenate Stack Hstack Vstack Dstack Append", tf="ConcatV2 Pack"),
    Op("Gather", "join", "gather index_select take take_along_dim index", onnx="Gather GatherElements GatherND",
       keras="Take TakeAlongAxis", tf="GatherV2 GatherNd ResourceGather"),
    Op("Scatter", "join", "scatter scatter_add scatter_reduce index_add index_copy index_put index_fill setitem "
       "masked_select select_scatter slice_scatter", onnx="Scatter ScatterElements ScatterND TensorScatter",
       keras="Scatter ScatterUpdate SliceUpdate", tf="ScatterNd TensorScatterUpdate TensorScatterAdd"),
    Op("OneHot", "join", "one_hot bucketize searchsorted histc", onnx="OneHot", keras="OneHot", tf="OneHot"),
    # --- data movement (moved, renamed or copied, nothing computed): contracted in canonical form
    Op("Reshape", "movement", "reshape view reshape_as view_as flatten unflatten ravel squeeze unsqueeze atleast_1d "
       "atleast_2d atleast_3d view_as_real view_as_complex", onnx="Reshape Flatten Squeeze Unsqueeze",
       keras="Reshape Flatten Squeeze ExpandDims Ravel", tf="Reshape Squeeze ExpandDims"),
    Op("Transpose", "movement", "permute transpose t T mT H mH swapaxes swapdims movedim moveaxis adjoint",
       onnx="Transpose", keras="Permute Transpose Swapaxes Moveaxis", tf="Transpose"),
    Op("Slice", "movement", "getitem select narrow split split_with_sizes tensor_split chunk unbind slice diagonal "
       "unsafe_chunk unsafe_split real imag", onnx="Slice Split CenterCropPad",
       keras="Cropping1D Cropping2D Cropping3D GetItem Slice Split ArraySplit Unstack Diagonal",
       tf="Slice StridedSlice Split SplitV Unpack"),
    Op("Expand", "movement",
       "expand expand_as as_strided broadcast_to repeat repeat_interleave tile broadcast_tensors meshgrid",
       onnx="Expand Tile", keras="RepeatVector BroadcastTo Repeat Tile Meshgrid", tf="Tile BroadcastTo"),
    Op("Shuffle", "movement",
       "pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle roll flip fliplr flipud "
       "rot90 tril triu", onnx="DepthToSpace SpaceToDepth Trilu ReverseSequence",
       keras="Flip Fliplr Flipud Roll Rot90 Tril Triu DepthToSpace SpaceToDepth",
       tf="SpaceToDepth DepthToSpace SpaceToBatchND BatchToSpaceND ReverseV2 MatrixBandPart"),
    # --- identities at inference
    Op("Identity", "identity",
       "clone contiguous alias detach deepcopy requires_grad data identity lift_fresh lift_fresh_copy " "positive pos",
       onnx="Identity", keras="Identity StopGradient ActivityRegularization Copy ConvertToTensor",
       tf="Identity IdentityN StopGradient PreventGradient CheckNumerics Snapshot EnsureShape ReadVariableOp"),
    Op("Dropout", "identity",
       "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout native_dropout", onnx="Dropout",
       keras="Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D GaussianDropout GaussianNoise "
       "AlphaDropout"),
    Op("Cast", "identity",
       "to float double half bfloat16 long int bool short char byte type type_as cpu cuda view_dtype",
       onnx="Cast CastLike BitCast", keras="Cast SaturateCast", tf="Cast Bitcast"),
    # --- control flow: the nodes of the bodies stand before it, under its module path
    Op("Loop", "control", onnx="Loop Scan", tf="While StatelessWhile"),
    Op("If", "control", onnx="If", tf="If StatelessIf Case StatelessCase"),
    # --- operators outside the vocabulary, kept with their own name and shapes
    Op("Opaque", "opaque", cost=opaque_flops),
)  # fmt: skip

OPS: dict[str, Op] = {op.name: op for op in _ROWS}
INDEX: dict[str, int] = {op.name: index for index, op in enumerate(_ROWS)}


def _index(column: str) -> dict[str, str]:
    """Name in a framework -> operator."""
    pairs = [(alias, op.name) for op in _ROWS for alias in getattr(op, column).split()]
    if len(dict(pairs)) != len(pairs):
        raise RuntimeError(f"the operator table names something twice in column {column!r}")
    return dict(pairs)


TORCH_NAMES, ONNX_NAMES, KERAS_NAMES, TF_NAMES = (_index(column) for column in ("torch", "onnx", "keras", "tf"))

if len(OPS) != len(_ROWS):
    raise RuntimeError("the operator table has two rows of one name")
