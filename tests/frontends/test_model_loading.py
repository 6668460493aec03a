"""Models by name, with and without weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_samples import write_net

import frontends


@pytest.mark.parametrize(("weights", "device"), [(False, "meta"), (True, "cpu")], ids=["without", "with"])
def test_weights_are_allocated_if_asked_for(weights: bool, device: str, tmp_path: Path) -> None:
    model = frontends.build(f"{write_net(tmp_path)}:build", weights)
    assert {parameter.device.type for parameter in model.parameters()} == {device}
