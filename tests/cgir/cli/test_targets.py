"""Networks as the command line names them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from encoders_samples import random_cnns

import cgir
from cgir.cli.targets import open_targets, read_graphs


def test_networks_are_listed_before_they_are_read(tmp_path: Path) -> None:
    graphs = random_cnns(3)
    cgir.GraphStore.write(tmp_path / "s.parquet", graphs[:2], specs=["a", "b"], labels={"acc": [1.0, 2.0]})
    found = open_targets([str(tmp_path / "s.parquet"), "", "net.onnx", "net.onnx"])
    assert found.names == ["a", "b", "net.onnx"]
    assert np.array_equal(found.labels["acc"], [1.0, 2.0, np.nan], equal_nan=True)
    assert np.diff(read_graphs(found.sources, lambda _: graphs[2]).ptr).tolist() == [len(graph) for graph in graphs]

    def broken(_: str) -> cgir.Graph:
        raise cgir.TraceError("no shape")

    with pytest.raises(cgir.TraceError, match=r"^net\.onnx: no shape$"):
        read_graphs(found.sources, broken)
