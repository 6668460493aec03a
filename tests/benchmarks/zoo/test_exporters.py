"""A fixed sample of the networks that PyTorch's exporters are compared on, see `benchmarks/zoo/exporters`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch

from benchmarks.zoo import exporters, torch_costs

SMALL = "timm/starnet_s050"


def test_cases_are_named_once_and_exceptions_match_some() -> None:
    cases = exporters.cases()
    assert len(cases) == len(set(cases)) > 150
    for pattern in exporters.EXCEPTIONS:
        case, _, column = pattern.partition(": ")
        assert any(fnmatch(name, case) for name in cases), pattern
        assert not column or column in exporters.COLUMNS, pattern


@pytest.mark.parametrize("case", [SMALL, "torchvision/mnasnet0_5"])
def test_every_door_leads_to_the_same_graph(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporters, "KEPT", tmp_path)
    monkeypatch.setattr(exporters, "onnx_file", only(False))  # the other exporter takes about 15 s
    doors = {"torch.export": True, "ONNX, torch.export": None, "ONNX, TorchScript": True}
    assert exporters.check(case) == doors | dict.fromkeys(torch_costs.CANONICAL, True)
    assert (tmp_path / f"{case.replace('/', '-')}.dynamo.onnx").read_bytes() == b""


def test_a_file_of_another_network_does_not_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporters, "KEPT", tmp_path)
    other = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 5)).eval()
    with warnings.catch_warnings():  # PyTorch calls this exporter outdated
        warnings.simplefilter("ignore")
        data = exporters.onnx_file(other, torch.zeros(1, 3, 2, 2), dynamo=False)
    for exporter, content in (("dynamo", b""), ("torchscript", data)):
        (tmp_path / f"{SMALL.replace('/', '-')}.{exporter}.onnx").write_bytes(content)
    found = exporters.check(SMALL)
    assert found["ONNX, torch.export"] is None
    assert isinstance(found["ONNX, TorchScript"], str)


def only(dynamo: bool) -> Callable[[torch.nn.Module, torch.Tensor, bool], bytes]:
    """`onnx_file` where one of the exporters fails."""
    export = exporters.onnx_file

    def exported(model: torch.nn.Module, x: torch.Tensor, wanted: bool) -> bytes:
        if wanted is not dynamo:
            raise RuntimeError("this exporter fails")
        return export(model, x, wanted)

    return exported
