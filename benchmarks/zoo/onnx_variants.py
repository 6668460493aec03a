"""Small networks as onnxruntime quantises, optimises and shortens their files: all cost what the module does.

The float file is what PyTorch's exporter writes; all are compared at `level="inference"`, as exporters fold BatchNorm.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

import cgir
import frontends
from frontends.torch.torchvision_ops import declare

from .exporters import quiet, randomise
from .torch_costs import Outcome, no_opaque, same

VARIANTS = (
    "dynamic",
    "static QDQ",
    "static QOperator",
    "optimised basic",
    "optimised extended",
    "optimised all",
    "float16",
    "four bits",
)
COLUMNS = ("float file", *VARIANTS)
EXCEPTIONS: dict[str, str] = {
    **dict.fromkeys(
        (
            f"{name}: optimised all"
            for name in ("mobilenet_v2", "squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x0_5", "regnet_y_400mf")
        ),
        "weights have channels padded to the blocks of the processor's vectors",
    ),
}


class _Recurrent(nn.Module):
    """Words, a recurrent layer, a score."""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.words, self.layer, self.score = nn.Embedding(50, 12), kind(12, 16, batch_first=True), nn.Linear(16, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        scores: Tensor = self.score(self.layer(self.words(tokens))[0][:, -1])
        return scores


class _Text(nn.Module):
    """The last hidden state of a text model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        hidden: Tensor = self.model(tokens)[0]
        return hidden


def _bert() -> nn.Module:
    import transformers

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    return _Text(transformers.BertModel(transformers.BertConfig(**sizes, vocab_size=100, max_position_embeddings=32)))


def _vision(name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import torchvision

        model: nn.Module = torchvision.models.get_model(name, weights=None)
        return model

    return make


_PHOTO, _TOKENS = torch.zeros(1, 3, 64, 64), torch.zeros(1, 9, dtype=torch.long)
# name -> how it is built, its input
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    **{
        name: (_vision(name), _PHOTO)
        for name in (
            "resnet18",
            "mobilenet_v2",
            "mobilenet_v3_small",
            "shufflenet_v2_x0_5",
            "squeezenet1_1",
            "regnet_y_400mf",
        )
    },
    "convnext block": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 16, 4, 4), nn.BatchNorm2d(16), nn.Conv2d(16, 16, 7, padding=3, groups=16), nn.GELU()
        ),
        _PHOTO,
    ),
    "bert": (_bert, _TOKENS),
    "lstm": (lambda: _Recurrent(nn.LSTM), _TOKENS),
    "gru": (lambda: _Recurrent(nn.GRU), _TOKENS),
    "perceptron": (
        lambda: nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.Tanh()),
        torch.zeros(1, 8, 64),
    ),
}


def cases() -> list[str]:
    """Names of the networks."""
    return list(NETWORKS)


def check(case: str) -> Outcome:
    """Whether each variant of the file has the costs of the module."""
    make, x = NETWORKS[case]
    declare()
    model = make().eval()
    randomise(model)
    expected = cgir.canonicalize(frontends.trace(model, (x,), raw=True), level="inference")
    with tempfile.TemporaryDirectory() as folder, quiet():
        source = Path(folder, "float.onnx")
        torch.onnx.export(model, (x,), source, dynamo=False, do_constant_folding=False)
        files: dict[str, Callable[[], onnx.ModelProto]] = {
            "float file": lambda: onnx.load(source),
            "dynamic": lambda: _dynamic(source),
            "static QDQ": lambda: _static(source, "QDQ", x),
            "static QOperator": lambda: _static(source, "QOperator", x),
            "optimised basic": lambda: _optimised(source, "BASIC"),
            "optimised extended": lambda: _optimised(source, "EXTENDED"),
            "optimised all": lambda: _optimised(source, "ALL"),
            "float16": lambda: _float16(source),
            "four bits": lambda: _four_bits(source),
        }
        return {column: _compared(files[column](), expected, x) for column in COLUMNS}


def _compared(file: onnx.ModelProto, expected: cgir.Graph, x: Tensor) -> bool | str:
    """True, or where parameters and FLOPs differ, or what cannot be traced."""
    try:
        graph = frontends.trace(file, input_shape=tuple(x.shape), level="inference")
        cgir.verify(graph)
    except cgir.CgirError as error:
        return str(error)
    found = (same(graph.num_params, expected.num_params), same(graph.flops, expected.flops), no_opaque([graph]))
    return "; ".join(why for why in found if isinstance(why, str)) or True


def _dynamic(source: Path) -> onnx.ModelProto:
    from onnxruntime import quantization

    quantization.quantize_dynamic(source, source.with_suffix(".dynamic"))
    return onnx.load(source.with_suffix(".dynamic"))


def _static(source: Path, form: str, x: Tensor) -> onnx.ModelProto:
    from onnxruntime import quantization

    class Examples(quantization.CalibrationDataReader):  # type: ignore[misc]
        """One example."""

        def __init__(self) -> None:
            name = onnx.load(source).graph.input[0].name
            values = x if x.dtype == torch.long else torch.randn(x.shape)
            self.rows = iter([{name: np.asarray(values)}])

        def get_next(self) -> dict[str, Any] | None:
            return next(self.rows, None)

    path = source.with_suffix(f".{form}")
    quantization.quantize_static(source, path, Examples(), quant_format=quantization.QuantFormat[form])
    return onnx.load(path)


def _optimised(source: Path, level: str) -> onnx.ModelProto:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    options.optimized_model_filepath = str(source.with_suffix(f".{level}"))
    onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    return onnx.load(source.with_suffix(f".{level}"))


def _float16(source: Path) -> onnx.ModelProto:
    from onnxruntime.transformers import float16

    converted: onnx.ModelProto = float16.convert_float_to_float16(onnx.load(source))
    return converted


def _four_bits(source: Path) -> onnx.ModelProto:
    from onnxruntime.quantization import matmul_nbits_quantizer

    quantizer = matmul_nbits_quantizer.MatMulNBitsQuantizer(onnx.load(source), block_size=16)
    quantizer.process()
    quantized: onnx.ModelProto = quantizer.model.model
    return quantized
