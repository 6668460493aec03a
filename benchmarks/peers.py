"""FLOPs and parameters by other tools, on networks of known cost: `python -m benchmarks.peers [--write]`.

A peer that is not installed (`pip install --no-deps` what the extra `bench` lists) is a row that says so.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import frontends
from frontends.reference import resnet50, vit_b16
from frontends.torch.torchvision_ops import declare

from .report import Table, publish

Count = tuple[float, float]  # multiply-adds, parameters; not a number where a tool has no such figure
NONE = float("nan")


class Network(NamedTuple):
    """A network, the shape of one input, and what it costs by arithmetic on its layers."""

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    macs: int
    params: int


def encoder() -> nn.Module:
    """Six of PyTorch's own encoder layers."""
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(256, 8, 1024, batch_first=True), 6)


def vit_macs(width: int = 768, tokens: int = 197, depth: int = 12, classes: int = 1000) -> int:
    """Patches, then per block 4 projections, 2 layers of 4 times the width and 2 products of attention; the head.

    Args:
        width: of the embeddings.
        tokens: patches and the class token.
        depth: number of blocks.
        classes: outputs of the head.
    """
    block = 12 * tokens * width * width + 2 * tokens * tokens * width
    return (tokens - 1) * 3 * 16 * 16 * width + depth * block + width * classes


def resnet_macs() -> int:
    """Convolutions layer by layer: output positions x kernel x input channels x output channels."""
    total, in_channels, side = 112 * 112 * 49 * 3 * 64, 64, 56
    for stage, depth in enumerate((3, 4, 6, 3)):
        width = 64 << stage
        for block in range(depth):
            before = side
            side = side // 2 if stage and not block else side
            total += before**2 * in_channels * width + side**2 * (
                9 * width * width + 4 * width * width + (0 if block else in_channels * 4 * width)
            )
            in_channels = 4 * width
    return total + in_channels * 1000


ENCODER_MACS = 6 * (128 * (4 * 256 * 256 + 2 * 256 * 1024) + 2 * 128 * 128 * 256)
NETWORKS = (
    Network("ResNet-50", resnet50, (1, 3, 224, 224), resnet_macs(), 25_557_032),
    Network("ViT-B/16", vit_b16, (1, 3, 224, 224), vit_macs(), 86_567_656),
    Network(
        "nn.TransformerEncoder, 6 x 256, 128 tokens",
        encoder,
        (1, 128, 256),
        ENCODER_MACS,
        6 * (4 * 256 * 257 + 2 * 256 * 1024 + 1280 + 4 * 256),
    ),
)


def _cgir(model: nn.Module, x: Tensor) -> Count:
    graph = frontends.trace(model.to("meta"), x.to("meta"))
    return graph.flops / 2, graph.num_params


def _fvcore(model: nn.Module, x: Tensor) -> Count:
    from fvcore.nn import FlopCountAnalysis, parameter_count

    return FlopCountAnalysis(model, x).unsupported_ops_warnings(False).uncalled_modules_warnings(
        False
    ).total(), parameter_count(model)[""]


def _ptflops(backend: str) -> Callable[[nn.Module, Tensor], Count]:
    def count(model: nn.Module, x: Tensor) -> Count:
        from ptflops import get_model_complexity_info

        options = {"as_strings": False, "print_per_layer_stat": False, "verbose": False, "backend": backend}
        macs, params = get_model_complexity_info(model, tuple(x.shape[1:]), **options)
        return float(macs), float(params)

    return count


def _thop(model: nn.Module, x: Tensor) -> Count:
    from thop import profile

    macs, params = profile(model, (x,), verbose=False)
    return macs, params


def _torchinfo(model: nn.Module, x: Tensor) -> Count:
    from torchinfo import summary

    found = summary(model, input_data=x, verbose=0)
    return found.total_mult_adds, found.total_params


def _flop_counter(device: str) -> Callable[[nn.Module, Tensor], Count]:
    def count(model: nn.Module, x: Tensor) -> Count:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model.to(device)(x.to(device))
        return counter.get_total_flops() / 2, NONE

    return count


def _onnx_tool(model: nn.Module, x: Tensor) -> Count:
    import onnx_tool

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        torch.onnx.export(model, (x,), str(path), dynamo=False, opset_version=17)
        profiled = onnx_tool.Model(str(path))
        profiled.graph.shape_infer({})
        profiled.graph.profile()
    return float(sum(profiled.graph.macs)) if isinstance(profiled.graph.macs, tuple | list) else float(
        profiled.graph.macs
    ), float(profiled.graph.params)


PEERS: dict[str, Callable[[nn.Module, Tensor], Count]] = {
    "cgir": _cgir,
    "torch FlopCounterMode, meta": _flop_counter("meta"),
    "torch FlopCounterMode, cpu": _flop_counter("cpu"),
    "fvcore": _fvcore,
    "ptflops, pytorch": _ptflops("pytorch"),
    "ptflops, aten": _ptflops("aten"),
    "thop": _thop,
    "torchinfo": _torchinfo,
    "onnx-tool": _onnx_tool,
}


def rows() -> list[tuple[str, ...]]:
    """One row for each tool, exact values first.

    For each network billions of multiply-adds and millions of parameters, in bold where they differ.
    """
    exact = [f"{network.macs / 1e9:.3f} | {network.params / 1e6:.2f}".split(" | ") for network in NETWORKS]
    return [("by arithmetic", *(cell for pair in exact for cell in pair)), *((name, *_cells(name)) for name in PEERS)]


def _cells(peer: str) -> list[str]:
    cells = []
    for network in NETWORKS:
        try:
            macs, params = _count(PEERS[peer], network)
        except ImportError as error:
            cells += [f"not installed ({error.name})", ""]
        except Exception as error:
            cells += [f"{type(error).__name__}", ""]
        else:
            cells += [_cell(macs / 1e9, network.macs / 1e9, ".3f"), _cell(params / 1e6, network.params / 1e6, ".2f")]
    return cells


def _cell(found: float, exact: float, form: str) -> str:
    """A value, in bold where it rounds to another one than the exact one."""
    if found != found:
        return ""
    text = format(found, form)
    return text if text == format(exact, form) else f"**{text}**"


def _count(count: Callable[[nn.Module, Tensor], Count], network: Network) -> Count:
    torch.manual_seed(0)
    model, x = network.build().eval(), torch.randn(network.shape)
    for param in model.parameters():
        nn.init.normal_(param)  # PyTorch's encoder starts with equal layers, which exporters would store once
    with contextlib.redirect_stdout(io.StringIO()):
        return count(model, x)


def main() -> None:
    """Count, print, and with `--write` keep the table for RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="keep the result for RESULTS.md")
    options = parser.parse_args()
    declare()  # thop imports torchvision
    warnings.simplefilter("ignore")  # the peers' own
    logging.disable(logging.WARNING)
    columns = ("tool", *(cell for network in NETWORKS for cell in (f"{network.name}: G multiply-adds", "M parameters")))
    found = rows()
    for line in (columns, *found):
        print(" | ".join(line))
    if options.write:
        about = (
            "Multiply-adds in products (convolution, linear, attention) of one example, and parameters, by tools "
            "that count them. In bold what differs from the arithmetic on their layers; fvcore, ptflops' pytorch "
            "backend, thop and onnx-tool count norms or elementwise operators too."
        )
        publish(
            "peers",
            "Costs of known networks",
            about,
            "python -m benchmarks.peers --write",
            [Table("batch 1", columns, tuple(found))],
        )


if __name__ == "__main__":
    main()
