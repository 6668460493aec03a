"""NAS-Bench-NLP's network (Klyuchnikov et al. 2020 and the authors' custom_rnn.py, multilinear.py and model.py), in
PyTorch.
"""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor, nn
from torch._higher_order_ops import scan

from .recipes import Recipe, new_states, old_states, ordered
from .space import SLOPE


class MultiLinear(nn.Module):
    """The sum of a product with each input, and one bias."""

    def __init__(self, inner: list[int], outer: int) -> None:
        super().__init__()
        bound = outer**-0.5
        self.weights = nn.ParameterList(
            nn.Parameter(torch.empty(outer, size).uniform_(-bound, bound)) for size in inner
        )
        self.bias = nn.Parameter(torch.empty(outer).uniform_(-bound, bound))

    def forward(self, *inputs: Tensor) -> Tensor:
        """(B, inner) each -> (B, outer)."""
        result = nn.functional.linear(inputs[0], self.weights[0], self.bias)
        for x, weight in zip(inputs[1:], list(self.weights)[1:], strict=True):
            result = result + nn.functional.linear(x, weight)
        return result


class Cell(nn.Module):
    """One step: the states after from an element of the sequence and the states before."""

    def __init__(self, recipe: Recipe, inner: int, size: int) -> None:
        super().__init__()
        self.order, self.before, self.after = ordered(recipe), old_states(recipe), new_states(recipe)
        self.linears = nn.ModuleList(
            MultiLinear([inner if name == "x" else size for name in node.inputs], size)
            for node in self.order
            if node.op == "linear"
        )

    def forward(self, x: Tensor, states: list[Tensor]) -> list[Tensor]:
        """(B, inner) and (B, size) each -> (B, size) each."""
        values = {"x": x, **dict(zip(self.before, states, strict=True))}
        linears = iter(self.linears)
        for node in self.order:
            inputs = [values[name] for name in node.inputs]
            values[node.name] = next(linears)(*inputs) if node.op == "linear" else operation(node.op, inputs)
        return [values[name] for name in self.after]


def operation(op: str, inputs: list[Tensor]) -> Tensor:
    """An operator without weights."""
    if op == "elementwise_sum":
        return reduce(torch.add, inputs)
    if op == "elementwise_prod":
        return reduce(torch.mul, inputs)
    if op == "blend":
        return inputs[0] * inputs[1] + (1 - inputs[0]) * inputs[2]
    if op == "activation_leaky_relu":
        return nn.functional.leaky_relu(inputs[0], SLOPE)
    return inputs[0].tanh() if op == "activation_tanh" else inputs[0].sigmoid()


class Layer(nn.Module):
    """The cell over a sequence. Tensors without values go through PyTorch's scan, which traces as one loop; running it
    would compile every cell.
    """

    def __init__(self, recipe: Recipe, inner: int, size: int) -> None:
        super().__init__()
        self.cell = Cell(recipe, inner, size)

    def forward(self, x: Tensor, states: list[Tensor]) -> Tensor:
        """(T, B, inner) and (B, size) each -> (T, B, size)."""
        if x.is_meta:
            return self.scan(x, states)
        outputs = []
        for element in x:
            states = self.cell(element, states)
            outputs.append(states[0])
        return torch.stack(outputs)

    def scan(self, x: Tensor, states: list[Tensor]) -> Tensor:
        """The same as one operator."""

        def step(before: list[Tensor], element: Tensor) -> tuple[list[Tensor], Tensor]:
            after = self.cell(element, before)
            return after, after[0].clone()

        outputs: Tensor = scan(step, states, x, dim=0)[1]
        return outputs


class Network(nn.Module):
    """Embedding, recurrent layers, decoder with the embedding's weights."""

    def __init__(self, recipe: Recipe, vocabulary: int, embedding: int, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.states = len(old_states(recipe))
        self.encoder = nn.Embedding(vocabulary, embedding)
        self.layers = nn.ModuleList(
            Layer(recipe, inner, size) for inner, size in zip((embedding, *sizes), sizes, strict=False)
        )
        self.decoder = nn.Linear(embedding, vocabulary)
        self.decoder.weight = self.encoder.weight
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, tokens: Tensor, *states: Tensor) -> Tensor:
        """Tokens (B, T), the states before of every layer in turn (B, size) -> scores of the next token (B, T,
        vocabulary).
        """
        x: Tensor = self.encoder(tokens).transpose(0, 1)
        for number, layer in enumerate(self.layers):
            x = layer(x, list(states[number * self.states : (number + 1) * self.states]))
        scores: Tensor = self.decoder(x.transpose(0, 1))
        return scores
