"""What PyTorch's own count is, and that each column of the corpora of modules can fail."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.zoo import torch_costs

CPU, META = torch_costs.CPU, torch_costs.META


class Tied(nn.Module):
    """An embedding whose weight is the last layer's too, a layer that nothing reads, and a scale as a result."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.spare, self.last = nn.Embedding(7, 4), nn.Linear(5, 5), nn.Linear(4, 7, bias=False)
        self.last.weight = self.words.weight
        self.shift, self.scale = nn.Parameter(torch.zeros(1, 3, 4)), nn.Parameter(torch.ones(()))

    def forward(self, ids: Tensor) -> dict[str, Tensor]:
        return {"scores": self.last(torch.cat([self.words(ids), self.shift], 1)), "scale": self.scale}


def tied() -> tuple[nn.Module, tuple[Any, ...]]:
    return Tied(), (torch.zeros(1, 2, dtype=torch.long),)


@pytest.mark.parametrize("device", [None, META])
def test_read_parameters_count_once_and_unread_ones_do_not(device: torch.device | None) -> None:
    model, (ids,) = tied()
    costs = torch_costs.measured(model, (ids.to(device or CPU),), device)
    assert costs == torch_costs.Costs(7 * 4 + 3 * 4 + 1, 2 * 5 * 4 * 7)


def test_attention_and_recurrent_layers_count_on_the_cpu() -> None:
    class Attention(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return scaled_dot_product_attention(x, x, x)

    assert torch_costs.measured(Attention(), (torch.zeros(1, 2, 6, 8),)).flops == 2 * (2 * 2 * 6 * 6 * 8)
    layer = nn.LSTM(3, 4, batch_first=True)
    assert torch_costs.measured(layer, (torch.zeros(1, 5, 3),)).flops == 2 * 5 * 16 * (3 + 4)


def test_inputs_by_name() -> None:
    assert torch_costs.measured(nn.Linear(3, 2), {"input": torch.zeros(1, 3)}).flops == 12


def test_all_columns_of_a_module() -> None:
    assert torch_costs.checked(tied) == dict.fromkeys(torch_costs.COLUMNS, True)


def test_a_module_that_computes_with_values_is_built_on_the_cpu() -> None:
    class Counted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, int(torch.tensor([2, 3]).sum().item()))

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.layer(x)
            return result

    found = torch_costs.checked(lambda: (Counted(), (torch.zeros(1, 3),)))
    assert found == dict.fromkeys(torch_costs.COLUMNS, True)


def test_a_module_that_does_not_run_itself_is_told_from_one_that_cannot_be_traced() -> None:
    with pytest.raises(RuntimeError, match=r"the module itself does not run: mat1 and mat2 shapes"):
        torch_costs.checked(lambda: (nn.Linear(3, 2), (torch.zeros(1, 4),)))


def test_columns_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_costs, "measured", lambda *_: torch_costs.Costs(42, 1))
    found = torch_costs.checked(tied)
    assert found["FLOPs exact"] == found["canonical FLOPs"] == "found 280, expected 1"
    assert found["canonical parameters"] == "found 41, expected 42"


def test_operators_that_the_vocabulary_lacks_are_named() -> None:
    class Solver(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            solved: Tensor = torch.linalg.solve(x, x)
            return solved

    found = torch_costs.checked(lambda: (Solver(), (torch.eye(3)[None],)))
    assert str(found["no Opaque"]).startswith("torch.linalg.solve")
