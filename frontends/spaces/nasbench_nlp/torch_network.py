"""NAS-Bench-NLP's network (Klyuchnikov et al. 2020), in PyTorch.

Source: the authors' custom_rnn.py, multilinear.py and model.py.
"""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor, nn
from torch._higher_order_ops import scan

from .recipes import LEAKY_SLOPE, Recipe, next_states, previous_states, topological_order


class MultiLinear(nn.Module):
    """The sum of a product with each input, and one bias."""

    def __init__(self, in_features: list[int], out_features: int) -> None:
        super().__init__()
        bound = out_features**-0.5
        self.weights = nn.ParameterList(
            nn.Parameter(torch.empty(out_features, size).uniform_(-bound, bound)) for size in in_features
        )
        self.bias = nn.Parameter(torch.empty(out_features).uniform_(-bound, bound))

    def forward(self, *inputs: Tensor) -> Tensor:
        """(B, in_features[i]) each -> (B, out_features)."""
        result = nn.functional.linear(inputs[0], self.weights[0], self.bias)
        for x, weight in zip(inputs[1:], list(self.weights)[1:], strict=True):
            result = result + nn.functional.linear(x, weight)
        return result


class RecurrentCell(nn.Module):
    """One step: the next states from an element of the sequence and the previous states.

    Args:
        recipe: what is computed.
        in_features: size of an element.
        size: of every state.
    """

    def __init__(self, recipe: Recipe, in_features: int, size: int) -> None:
        super().__init__()
        self.nodes, self.previous, self.next = topological_order(recipe), previous_states(recipe), next_states(recipe)
        self.linears = nn.ModuleList(
            MultiLinear([in_features if name == "x" else size for name in node.inputs], size)
            for node in self.nodes
            if node.op == "linear"
        )

    def forward(self, x: Tensor, states: list[Tensor]) -> list[Tensor]:
        """(B, in_features) and (B, size) each -> (B, size) each."""
        values = {"x": x, **dict(zip(self.previous, states, strict=True))}
        linears = iter(self.linears)
        for node in self.nodes:
            inputs = [values[name] for name in node.inputs]
            values[node.name] = next(linears)(*inputs) if node.op == "linear" else operation(node.op, inputs)
        return [values[name] for name in self.next]


def operation(op: str, inputs: list[Tensor]) -> Tensor:
    """An operator without weights."""
    if op == "elementwise_sum":
        return reduce(torch.add, inputs)
    if op == "elementwise_prod":
        return reduce(torch.mul, inputs)
    if op == "blend":
        return inputs[0] * inputs[1] + (1 - inputs[0]) * inputs[2]
    if op == "activation_leaky_relu":
        return nn.functional.leaky_relu(inputs[0], LEAKY_SLOPE)
    return inputs[0].tanh() if op == "activation_tanh" else inputs[0].sigmoid()


class RecurrentLayer(nn.Module):
    """The cell over a sequence.

    Tensors without contents go through PyTorch's scan, which traces as one loop; running it would compile every cell.

    Args:
        recipe: of the cell.
        in_features: size of an element.
        size: of every state.
    """

    def __init__(self, recipe: Recipe, in_features: int, size: int) -> None:
        super().__init__()
        self.cell = RecurrentCell(recipe, in_features, size)

    def forward(self, x: Tensor, states: list[Tensor]) -> Tensor:
        """(T, B, in_features) and (B, size) each -> (T, B, size)."""
        if x.untyped_storage().device.type == "meta":  # also while traced, where `is_meta` is that of the weights
            return self.scan(x, states)
        outputs = []
        for element in x:
            states = self.cell(element, states)
            outputs.append(states[0])
        return torch.stack(outputs)

    def scan(self, x: Tensor, states: list[Tensor]) -> Tensor:
        """The same as one operator."""

        def step(previous: list[Tensor], element: Tensor) -> tuple[list[Tensor], Tensor]:
            states = self.cell(element, previous)
            return states, states[0].clone()

        outputs: Tensor = scan(step, states, x, dim=0)[1]
        return outputs


class NasBenchNlpNetwork(nn.Module):
    """Embedding, recurrent layers, decoder with the embedding's weights.

    Args:
        recipe: of the cell.
        vocabulary: number of tokens.
        embedding: size of the embedding.
        sizes: of the states of every layer.
    """

    def __init__(self, recipe: Recipe, vocabulary: int, embedding: int, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.num_states = len(previous_states(recipe))
        self.encoder = nn.Embedding(vocabulary, embedding)
        self.layers = nn.ModuleList(
            RecurrentLayer(recipe, in_features, size)
            for in_features, size in zip((embedding, *sizes), sizes, strict=False)
        )
        self.decoder = nn.Linear(embedding, vocabulary)
        self.decoder.weight = self.encoder.weight
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, tokens: Tensor, *states: Tensor) -> Tensor:
        """Scores of the next token (B, T, vocabulary).

        Args:
            tokens: (B, T).
            states: the initial states of every layer in turn, (B, size) each.
        """
        x: Tensor = self.encoder(tokens).transpose(0, 1)
        for number, layer in enumerate(self.layers):
            x = layer(x, list(states[number * self.num_states : (number + 1) * self.num_states]))
        scores: Tensor = self.decoder(x.transpose(0, 1))
        return scores
