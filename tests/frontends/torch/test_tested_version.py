"""A PyTorch that is newer than the tested one is named once a process, when something of it is traced."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import torch
from source_tree import ROOT
from torch import nn

import frontends
from frontends.torch.tested_version import TESTED, warn_of_untested


@pytest.fixture(autouse=True)
def _first_trace() -> Iterator[None]:
    warn_of_untested.cache_clear()
    yield
    warn_of_untested.cache_clear()


def warnings_of(traces: int, model: object, caplog: pytest.LogCaptureFixture) -> list[str]:
    for _ in range(traces):
        frontends.trace(model, torch.zeros(1, 4))
    return [record.getMessage() for record in caplog.records if record.name == "frontends.torch.tested_version"]


def test_the_tested_version_is_the_pinned_one() -> None:
    pinned = re.search(r"^torch==(\d+)\.(\d+)\.", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned is not None
    assert tuple(map(int, pinned.groups())) == TESTED


@pytest.mark.parametrize("exported", [False, True], ids=["module", "exported program"])
def test_a_newer_torch_is_named_once(
    exported: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = torch.export.export(nn.Linear(4, 2), (torch.zeros(1, 4),)) if exported else nn.Linear(4, 2)
    monkeypatch.setattr(torch, "__version__", f"{TESTED[0]}.{TESTED[1] + 1}.0a0+gitabc")
    (found,) = warnings_of(2, model, caplog)
    assert found.startswith(f"torch {torch.__version__} is newer than {TESTED[0]}.{TESTED[1]}, with which")


@pytest.mark.parametrize("version", ["2.9.1", "2.13.0", "2.13.7+cu130", "2.13.1a0+git1"])
def test_other_versions_are_not(
    version: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    assert not warnings_of(1, nn.Linear(4, 2), caplog)


def test_a_major_version_counts_more_than_a_minor(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch, "__version__", "3.0.0")
    assert warnings_of(1, nn.Linear(4, 2), caplog)
