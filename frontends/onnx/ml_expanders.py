"""Classical models of the domain ai.onnx.ml as linear layers, functions and lookups.

What a model has learned stands in attributes of its nodes: coefficients and support vectors are parameters; settings of
a preprocessing (offsets, scales, thresholds) are constants. Trees only compare: they cost no products, and their
thresholds are no tensors, so that the number of parameters is a lower bound.
"""

from __future__ import annotations

from math import prod

import numpy as np
from onnx import TensorProto

from cgir import Gap

from .expansion import Expander, Expansion, Results
from .tensors import OnnxTensor

# --- preprocessing


def _constants(x: Expansion, name: str) -> OnnxTensor | None:
    """Numbers in an attribute, one for every feature or one for all; None without them."""
    values = np.asarray(x.attr(name, ()), np.float32).reshape(-1)
    return OnnxTensor(name, TensorProto.FLOAT, values.shape, values) if values.size else None


def _scaler(x: Expansion) -> Results:
    tensor, offset, scale = _as_float(x, x.require_input(0)), _constants(x, "offset"), _constants(x, "scale")
    centred = tensor if offset is None else x.op("Sub", tensor, offset)
    return [centred if scale is None else x.op("Mul", centred, scale)]


def _as_float(x: Expansion, tensor: OnnxTensor) -> OnnxTensor:
    return tensor if tensor.is_floating else x.op("Cast", tensor, to=TensorProto.FLOAT)


def _normalizer(x: Expansion) -> Results:
    tensor, norm = _as_float(x, x.require_input(0)), x.attr("norm", "MAX")
    if norm == "MAX":
        return [x.op("Div", tensor, x.op("ReduceMax", x.op("Abs", tensor), x.ints(-1), keepdims=1))]
    return [x.op("LpNormalization", tensor, axis=-1, p={"L1": 1, "L2": 2}[norm])]


def _imputer(x: Expansion) -> Results:
    """A number in the place of every missing one."""
    tensor = _as_float(x, x.require_input(0))
    values = _constants(x, "imputed_value_floats") or _constants(x, "imputed_value_int64s")
    missing = x.attr("replaced_value_float", x.attr("replaced_value_int64", 0))
    absent = x.op("IsNaN", tensor) if np.isnan(missing) else x.op("Equal", tensor, x.number(missing))
    return [x.op("Where", absent, values, tensor)]


def _binarizer(x: Expansion) -> Results:
    tensor = _as_float(x, x.require_input(0))
    above = x.op("Greater", tensor, x.number(x.attr("threshold", 0.0)))
    return [x.op("Cast", above, to=TensorProto.FLOAT)]


def _feature_vectorizer(x: Expansion) -> Results:
    """All features of an example behind each other."""
    rows = []
    for tensor in x.inputs:
        if tensor is not None:
            batch = tensor.size[0] if len(tensor.size) > 1 else 1
            rows.append(x.reshape(_as_float(x, tensor), (batch, prod(tensor.size) // max(batch, 1))))
    return [x.op("Concat", *rows, axis=1)]


# --- picking and renaming


def _array_feature_extractor(x: Expansion) -> Results:
    """Some entries of the last axis; a vector is one row."""
    data, indices = x.require_input(0), x.require_input(1)
    row = data if len(data.size) > 1 else x.op("Reshape", data, x.ints(1, *data.size))
    flat = x.op("Reshape", indices, x.ints(prod(indices.size)))
    return [x.op("Gather", row, flat, axis=len(row.size) - 1)]


def _one_hot_encoder(x: Expansion) -> Results:
    categories = len(x.attr("cats_int64s") or x.attr("cats_strings") or ())
    zero_one = OnnxTensor("values", TensorProto.FLOAT, (2,), np.array([0, 1], np.float32))
    indices = x.op("Cast", x.require_input(0), to=TensorProto.INT64)
    return [x.op("OneHot", indices, x.ints(categories), zero_one)]


def _lookup(x: Expansion) -> Results:
    """A table of names or numbers, read with the elements of a tensor."""
    keys = next((x.attr(name) for name in _KEYS if x.attr(name)), [0])
    table = x.constant("table", (len(keys),), _lookup_type(x))
    return [x.op("Gather", table, x.op("Cast", x.require_input(0), to=TensorProto.INT64))]


_VALUES = {
    "values_int64s": TensorProto.INT64,
    "values_floats": TensorProto.FLOAT,
    "values_strings": TensorProto.STRING,
}
_KEYS = ("keys_int64s", "keys_strings", "keys_floats", "cats_int64s", "classes_strings")


def _lookup_type(x: Expansion) -> int:
    """The type of the values in a table; one without values has integers for strings, and strings for integers."""
    values = x.attr("values_tensor")
    if values is not None:
        return int(values.data_type)
    found = next((kind for name, kind in _VALUES.items() if x.attr(name)), None)
    reads_text = x.require_input(0).elem_type == TensorProto.STRING
    return int(found or (TensorProto.INT64 if reads_text else TensorProto.STRING))


def _first(x: Expansion) -> Results:
    """What only renames the columns of its input, such as a map from classes to probabilities."""
    return [x.require_input(0)]


# --- linear models and support vectors


def _rows(x: Expansion) -> OnnxTensor:
    """The examples as rows of floating-point numbers."""
    tensor = _as_float(x, x.require_input(0))
    return tensor if len(tensor.size) > 1 else x.reshape(tensor, (1, *tensor.size))


def _linear(x: Expansion, tensor: OnnxTensor, name: str, columns: int, has_bias: bool) -> OnnxTensor:
    """A linear layer whose weight and bias are attributes of the node.

    Args:
        x: the node.
        tensor: (examples, features).
        name: of the weight.
        columns: how many features the layer returns.
        has_bias: whether it has a bias.
    """
    weight = x.own_param(name, (columns, tensor.size[-1]))
    bias = x.own_param(f"{name}.bias", (columns,)) if has_bias else None
    return x.op("Gemm", tensor, weight, bias, transB=1)


def _post_transform(x: Expansion, scores: OnnxTensor) -> OnnxTensor:
    name = x.attr("post_transform", "NONE")
    if name in ("SOFTMAX", "SOFTMAX_ZERO"):
        return x.op("Softmax", scores, axis=-1)
    return x.op({"LOGISTIC": "Sigmoid", "PROBIT": "Erf"}[name], scores) if name != "NONE" else scores


def _num_classes(x: Expansion) -> int:
    names = ("classlabels_ints", "classlabels_strings", "classlabels_int64s")
    labels: list[object] = next((x.attr(name) for name in names if x.attr(name)), [0])
    return len(labels)


def _with_labels(x: Expansion, scores: OnnxTensor) -> Results:
    """The labels with the highest scores, and the scores."""
    is_text = bool(x.attr("classlabels_strings"))
    labels = x.op("ArgMax", scores, axis=1, keepdims=0)
    labels.elem_type = TensorProto.STRING if is_text else TensorProto.INT64
    return [labels, scores]


def _linear_regressor(x: Expansion) -> Results:
    targets = int(x.attr("targets", 1))
    return [_post_transform(x, _linear(x, _rows(x), "coefficients", targets, bool(x.attr("intercepts"))))]


def _linear_classifier(x: Expansion) -> Results:
    rows, coefficients = _rows(x), x.attr("coefficients", ())
    columns = len(coefficients) // max(rows.size[-1], 1)
    scores = _linear(x, rows, "coefficients", columns, bool(x.attr("intercepts")))
    return _with_labels(x, _two_columns(x, _post_transform(x, scores)))


def _two_columns(x: Expansion, scores: OnnxTensor) -> OnnxTensor:
    """Scores of both classes, where there is only that of one of two."""
    if scores.size[-1] != 1 or _num_classes(x) > 2:
        return scores
    return x.op("Concat", x.op("Sub", x.number(1.0), scores), scores, axis=-1)


def _kernel(x: Expansion, rows: OnnxTensor, vectors: int) -> OnnxTensor:
    """The kernel of every example and every support vector, (examples, vectors)."""
    products = _linear(x, rows, "support_vectors", vectors, has_bias=False)
    functions = {"RBF": "Exp", "SIGMOID": "Tanh"}
    kernel = x.attr("kernel_type", "LINEAR")
    if kernel == "POLY":
        return x.op("Pow", products, x.number(float((x.attr("kernel_params") or [0, 0, 3])[2])))
    return x.op(functions[kernel], products) if kernel in functions else products


def _svm_regressor(x: Expansion) -> Results:
    vectors, rows = int(x.attr("n_supports", 0)), _rows(x)
    if vectors:
        scores = _linear(x, _kernel(x, rows, vectors), "coefficients", 1, bool(x.attr("rho")))
    else:
        scores = _linear(x, rows, "coefficients", 1, bool(x.attr("rho")))
    if x.attr("one_class", 0):
        scores = x.op("Sign", scores)
    return [_post_transform(x, scores)]


def _svm_classifier(x: Expansion) -> Results:
    """Scores of all pairs of classes, each from the support vectors of both; probabilities where the model has them."""
    classes, rows = _num_classes(x), _rows(x)
    vectors = sum(x.attr("vectors_per_class", ()))
    has_bias, pairs = bool(x.attr("rho")), classes * (classes - 1) // 2
    if not vectors:  # a linear model
        return _with_labels(x, _post_transform(x, _linear(x, rows, "coefficients", classes, has_bias)))
    weight = x.own_param("coefficients", (max(classes - 1, 1), vectors))
    votes = x.op("MatMul", _kernel(x, rows, vectors), x.transpose(weight, 1, 0))
    scores = x.op("ReduceSum", votes, x.ints(1), keepdims=1)
    if has_bias:
        scores = x.op("Add", scores, x.own_param("rho", (len(x.attr("rho")),)))
    columns = classes if x.attr("prob_a") or classes == 2 else pairs
    if scores.size[-1] not in (1, columns):  # probabilities of classes, from those of their pairs
        scores = x.op("ReduceMean", scores, x.ints(1), keepdims=1)
    scores = x.op("Expand", scores, x.ints(rows.size[0], columns))
    return _with_labels(x, _post_transform(x, scores))


# --- trees


def _tree_sizes(x: Expansion, columns: int) -> tuple[int, int]:
    rows = x.require_input(0).size
    x.tape.gaps.append(
        Gap("parameters", f"{x.node.op_type} has its thresholds and leaves in attributes, not in tensors")
    )
    return (rows[0] if len(rows) > 1 else 1, columns)


def _tree_regressor(x: Expansion) -> Results:
    return x.opaque([_tree_sizes(x, int(x.attr("n_targets", 1)))], flops=0)


def _tree_classifier(x: Expansion) -> Results:
    """Trees that vote for classes; the scores of two classes, if there is only one."""
    [scores] = x.opaque([_tree_sizes(x, max(_num_classes(x), 2))], flops=0)
    return _with_labels(x, scores)


ML: dict[str, Expander] = {
    "Scaler": _scaler,
    "Normalizer": _normalizer,
    "Imputer": _imputer,
    "Binarizer": _binarizer,
    "FeatureVectorizer": _feature_vectorizer,
    "ArrayFeatureExtractor": _array_feature_extractor,
    "OneHotEncoder": _one_hot_encoder,
    **dict.fromkeys(("LabelEncoder", "CategoryMapper"), _lookup),
    **dict.fromkeys(("ZipMap", "CastMap", "DictVectorizer"), _first),
    "LinearRegressor": _linear_regressor,
    "LinearClassifier": _linear_classifier,
    "SVMRegressor": _svm_regressor,
    "SVMClassifier": _svm_classifier,
    **dict.fromkeys(("TreeEnsembleRegressor", "TreeEnsemble"), _tree_regressor),
    "TreeEnsembleClassifier": _tree_classifier,
}
