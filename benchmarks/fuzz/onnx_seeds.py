"""Small valid ONNX models of many kinds, in ONNX's text format (onnx.ai/onnx/repo-docs/Syntax.html)."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper, parser

CNN = """
<ir_version: 10, opset_import: ["" : 20]>
net (float[N,3,8,8] x) => (float[N,5] y) <float[4,3,3,3] w, float[4] b, float[4] s, float[5,64] f> {
    c = Conv <pads = [1,1,1,1]> (x, w, b)
    n = BatchNormalization (c, s, b, b, s)
    r = Relu (n)
    p = MaxPool <kernel_shape = [2,2], strides = [2,2]> (r)
    q = AveragePool <kernel_shape = [3,3], pads = [1,1,1,1]> (p)
    z = Add (p, q)
    g = Flatten (z)
    y = Gemm <transB = 1> (g, f)
}
"""
TRANSFORMER = """
<ir_version: 10, opset_import: ["" : 20, "local" : 1]>
net (int64[N,6] ids) => (float[N,6,8] y) <float[20,8] table, float[8,8] w, float[8] g> {
    x = Gather (table, ids)
    a = local.block <heads = 2> (x, w, g)
    y = local.block <heads = 2> (a, w, g)
}
<domain: "local", opset_import: ["" : 20, "local" : 1]>
block <heads> (x, w, g) => (y) {
    q = local.project (x, w)
    k = local.project (x, w)
    t = Transpose <perm = [0,2,1]> (k)
    s = MatMul (q, t)
    p = Softmax <axis = -1> (s)
    o = MatMul (p, x)
    h = Add (x, o)
    y = LayerNormalization <axis = -1> (h, g, g)
}
<domain: "local", opset_import: ["" : 20]>
project (x, w) => (y) {
    c = Constant <value_float = 0.5> ()
    m = MatMul (x, w)
    y = Mul (m, c)
}
"""
RECURRENT = """
<ir_version: 8, opset_import: ["" : 14]>
net (float[5,1,4] x) => (float[5,2,1,3] y, float[2,1,3] h) <float[2,12,4] w, float[2,12,3] r, float[2,24] b,
    float[2,9,6] v, float[2,9,3] q> {
    a, s, c = LSTM <hidden_size = 3, direction = "bidirectional"> (x, w, r, b)
    t = Transpose <perm = [0,2,1,3]> (a)
    z = Constant <value = int64[3] {0, 0, -1}> ()
    u = Reshape (t, z)
    y, h = GRU <hidden_size = 3, direction = "bidirectional"> (u, v, q)
}
"""
CONTROL_FLOW = """
<ir_version: 10, opset_import: ["" : 19]>
net (float[4,3] x, bool c) => (float[M,3] y, float[4,3] z, float[3] s)
    <int64 trips = {5}, bool go = {1}, int64[1] first = {0}, float[3,3] w> {
    y = If (c) <then_branch = left () => (float[4,3] l) { l = Relu (x) },
                else_branch = right () => (float[4,3] r) { r = MatMul (x, w) }>
    z, k = Loop (trips, go, x) <body = round (int64 i, bool on, float[4,3] before)
        => (bool more, float[4,3] after, float[4,3] seen) {
        after = MatMul (before, w)
        seen = Identity (after)
        three = Constant <value_int = 3> ()
        more = Less (i, three)
    }>
    zero = ReduceSum <keepdims = 0> (x, first)
    s, all = Scan <num_scan_inputs = 1, body = step (float[3] state, float[3] row) => (float[3] next, float[3] out) {
        next = Add (state, row)
        out = Identity (next)
    }> (zero, x)
}
"""
QUANTISED = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[1,4] x) => (float[1,3] y) <float xs = {0.1}, uint8 xz = {128}, int8[4,3] w, float[3] ws, int8[3] wz,
    int32[3] b> {
    q = QuantizeLinear (x, xs, xz)
    d = DequantizeLinear (q, xs, xz)
    f = DequantizeLinear <axis = 1> (w, ws, wz)
    m = MatMul (d, f)
    i = MatMulInteger (q, w, xz)
    a = Add (i, b)
    c = Cast <to = 1> (a)
    l, ls, lz = DynamicQuantizeLinear (m)
    y = Add (m, c)
}
"""
FUSED = """
<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
net (int64[1,6] ids, int32[1,6] mask) => (float[1,6,8] y)
    <float[20,8] words, float[6,8] places, float[8] g, float[8,24] w, float[24] b, float[8,8] p> {
    e, m = com.microsoft.EmbedLayerNormalization (ids, , words, places, , g, g, mask)
    a = com.microsoft.Attention <num_heads = 2> (e, w, b, m)
    s = com.microsoft.SkipLayerNormalization (a, e, g, g)
    f = com.microsoft.FusedMatMul <transB = 1> (s, p)
    h = com.microsoft.BiasGelu (f, g)
    n = com.microsoft.FastGelu (h)
    y = com.microsoft.MultiHeadAttention <num_heads = 2> (n, n, n)
}
"""
CLASSICAL = """
<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 3]>
net (float[1,4] x) => (int64[1] label, float[1,3] scores, float[1,1] y) {
    s = ai.onnx.ml.Scaler <offset = [0.0, 0.5, 1.0, 0.0], scale = [1.0, 2.0, 1.0, 1.0]> (x)
    label, scores = ai.onnx.ml.LinearClassifier <coefficients = [0.1, 0.2, 0.3, 0.4, 0.1, 0.2, 0.3, 0.4, 0.1, 0.2, 0.3,
        0.4], intercepts = [0.0, 0.1, 0.2], classlabels_ints = [0, 1, 2], post_transform = "SOFTMAX"> (s)
    y = ai.onnx.ml.TreeEnsembleRegressor <n_targets = 1, nodes_treeids = [0,0,0], nodes_nodeids = [0,1,2],
        nodes_featureids = [1,0,0], nodes_values = [0.5, 0.0, 0.0], nodes_modes = ["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_truenodeids = [1,0,0], nodes_falsenodeids = [2,0,0], target_treeids = [0,0], target_nodeids = [1,2],
        target_ids = [0,0], target_weights = [1.0, 2.0]> (s)
}
"""
SEQUENCES = """
<ir_version: 10, opset_import: ["" : 18]>
net (float[6,4] x) => (float[6,4] y, int64 n, float[2,4] t) <int64 two = {2}, int64 one = {1}, bool go = {1}> {
    s = SplitToSequence <axis = 0> (x, two)
    n = SequenceLength (s)
    t = SequenceAt (s, one)
    r = SequenceInsert (s, t)
    e = SequenceErase (r, one)
    m = SequenceMap (e) <body = each (float[2,4] a) => (float[2,4] b) { b = Relu (a) }>
    grown, k = Loop (two, go, m) <body = round (int64 i, bool on, seq(float[2,4]) before)
        => (bool more, seq(float[2,4]) after, int64 seen) {
        more = Identity (on)
        after = SequenceInsert (before, t)
        seen = Identity (i)
    }>
    y = ConcatFromSequence <axis = 0> (grown)
}
"""
SHAPES = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[N,4,6] x) => (float[N,24] y, float[K] r) <int64 at = {0}, int64[1] last = {-1}, int64[1] axis = {0},
    int64[3] starts = {0,0,0}, int64[3] ends = {1,1,6}, float[2] pair = {0, 1}, int64[2] many = {2, 1}> {
    s = Shape (x)
    b = Gather (s, at)
    u = Unsqueeze (b, axis)
    c = Concat <axis = 0> (u, last)
    y = Reshape (x, c)
    p = Slice (x, starts, ends)
    f = ConstantOfShape <value = float[1] {2.0}> (s)
    e = Expand (p, s)
    w = Where (h, e, f)
    h = Less (e, f)
    t = Tile (c, u)
    z = Range (at, b, b)
    o = OneHot (z, b, pair)
    k, i = TopK <axis = 1> (w, u)
    l, d = Split <axis = 2> (k)
    g = NonZero (l)
    r = ReduceSum <keepdims = 0> (d, many)
}
"""
TEXTS = {
    "cnn": CNN,
    "transformer": TRANSFORMER,
    "recurrent": RECURRENT,
    "control flow": CONTROL_FLOW,
    "quantised": QUANTISED,
    "fused": FUSED,
    "classical": CLASSICAL,
    "sequences": SEQUENCES,
    "shapes": SHAPES,
}


def seed_models() -> dict[str, onnx.ModelProto]:
    """The models by name; the last one has a weight in the file `weights.bin` beside it, of 1,280 bytes."""
    models = {name: _with_weights(parser.parse_model(text)) for name, text in TEXTS.items()}
    beside = onnx.ModelProto()
    beside.CopyFrom(models["cnn"])
    weight = beside.graph.initializer[-1]
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "weights.bin"), ("offset", "0"), ("length", "1280")):
        weight.external_data.add(key=key, value=value)
    models["external data"] = beside
    return models


def _with_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the tensors that its text only declares as initializers."""
    known = {tensor.name for tensor in model.graph.initializer} | {info.name for info in model.graph.input}
    computed = {name for node in model.graph.node for name in node.output}
    for info in model.graph.value_info:
        if info.name in known | computed:
            continue
        kind = info.type.tensor_type
        size = [dim.dim_value for dim in kind.shape.dim]
        values = np.linspace(0, 1, int(np.prod(size))).reshape(size)
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        model.graph.initializer.append(numpy_helper.from_array(values.astype(dtype), info.name))
    return model
