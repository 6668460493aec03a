"""Proxies that differentiate, as loops written from their equations, and small networks to score."""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.functional import cross_entropy

from frontends import spaces

IMAGE = (3, 8, 8)
CLASSES = 10
CELLS = {
    "convolutions": "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_1x1~1|+|nor_conv_1x1~0|nor_conv_3x3~1|nor_conv_3x3~2|",
    "mixed": "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|",
    "dead ends": "|nor_conv_3x3~0|+|nor_conv_1x1~0|nor_conv_3x3~1|+|skip_connect~0|none~1|none~2|",
    "no path": "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
}
LIVE_CELLS = [name for name in CELLS if name != "no path"]


def cell_network(name: str, channels: int = 4) -> nn.Module:
    space = spaces.get("nasbench201", channels=channels, cells=1, image=IMAGE, classes=CLASSES)
    return started(space.module(space.parse(CELLS[name])))


def started(module: nn.Module, seed: int = 3) -> nn.Module:
    """The module itself with weights that depend on nothing but the seed; scales and shifts are drawn too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            width = math.sqrt(2 / parameter[0].numel()) if parameter.dim() > 1 else 0.3
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * width + (parameter.dim() == 1))
    return module


def batch(count: int = 6, image: tuple[int, ...] = IMAGE, seed: int = 7) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, *image, generator=generator), torch.randint(0, CLASSES, (count,), generator=generator)


class Perceptron(nn.Sequential):
    """Without BatchNorm, with a smooth activation."""

    def __init__(self) -> None:
        layers = [
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(48, 5),
            nn.Tanh(),
            nn.Linear(5, 6),
            nn.Tanh(),
            nn.Linear(6, CLASSES),
        ]
        super().__init__(*layers)
        started(self)


class Transformer(nn.Module):
    """Patches, one block of attention, neither ReLU nor BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, activation="gelu", batch_first=True)
        self.head = nn.Linear(8, CLASSES)
        started(self)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.block(self.patches(x).flatten(2).transpose(1, 2))
        logits: Tensor = self.head(tokens.mean(1))
        return logits


class Functional(nn.Module):
    """The cell "conv, BatchNorm, ReLU, conv" by functions alone, activation in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(torch.empty(4, 3, 3, 3)), nn.Parameter(torch.empty(5, 4, 3, 3))
        self.scale, self.shift = nn.Parameter(torch.empty(4)), nn.Parameter(torch.empty(4))
        self.last = nn.Parameter(torch.empty(CLASSES, 5))
        started(self)

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.first, padding=1)
        x = F.relu_(F.batch_norm(x, None, None, self.scale, self.shift, training=True))
        x = F.relu(F.conv2d(x, self.second), inplace=True)
        return F.linear(x.mean((2, 3)), self.last)


class DeadEnd(nn.Module):
    """Small, with a layer whose result nothing reads and one that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True))
        self.unread, self.never = nn.Conv2d(2, 2, 3), nn.Linear(2, 2)
        self.body = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU())
        self.last = nn.Linear(3, CLASSES)
        started(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        self.unread(x)
        logits: Tensor = self.last(self.body(x).mean((2, 3)))
        return logits


class AsModules(nn.Module):
    """The same network with the same weights, by modules and without changing anything in place."""

    def __init__(self, of: Functional) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.Conv2d(4, 5, 3, bias=False)
        self.norm, self.last = nn.BatchNorm2d(4), nn.Linear(5, CLASSES, bias=False)
        pairs = ((self.first, of.first), (self.second, of.second), (self.last, of.last), (self.norm, of.scale))
        with torch.no_grad():
            for layer, weight in pairs:
                layer.weight.copy_(weight)
            self.norm.bias.copy_(of.shift)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.second(torch.relu(self.norm(self.first(x)))))
        logits: Tensor = self.last(x.mean((2, 3)))
        return logits


def _weights(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in module.named_parameters() if parameter.dim() > 1}


def grad_norm(module: nn.Module, x: Tensor, y: Tensor) -> float:
    module = copy.deepcopy(module).double().train()
    cross_entropy(module(x.double()), y).backward()
    total = 0.0
    for weight in _weights(module).values():
        if weight.grad is not None:
            total += math.sqrt(sum(g**2 for g in weight.grad.flatten().tolist()))
    return total


def snip(module: nn.Module, x: Tensor, y: Tensor) -> float:
    """By the masks c of the paper: sum of |dL/dc| at c = 1 for weights c W."""
    module = copy.deepcopy(module).double().train()
    masks = {name: torch.ones_like(w, requires_grad=True) for name, w in _weights(module).items()}
    masked = {name: masks[name] * w.detach() for name, w in _weights(module).items()}
    cross_entropy(functional_call(module, masked, (x.double(),)), y).backward()
    return sum(sum(abs(g) for g in c.grad.flatten().tolist()) for c in masks.values() if c.grad is not None)


def grasp(module: nn.Module, x: Tensor, y: Tensor) -> float:
    """By the whole Hessian, row by row."""
    module = copy.deepcopy(module).double().train()
    weights = list(_weights(module).values())
    loss = cross_entropy(module(x.double()), y)
    found = torch.autograd.grad(loss, weights, create_graph=True, materialize_grads=True)
    gradient = torch.cat([g.flatten() for g in found])
    rows = [
        torch.cat([h.flatten() for h in torch.autograd.grad(g, weights, retain_graph=True, materialize_grads=True)])
        if g.requires_grad
        else torch.zeros(len(gradient), dtype=torch.float64)
        for g in gradient
    ]
    values = torch.cat([w.detach().flatten() for w in weights])
    return -float(values @ (torch.stack(rows) @ gradient.detach()))


def fisher(module: nn.Module, x: Tensor, y: Tensor) -> float:
    """By hooks of modules, image by image and channel by channel."""
    module = copy.deepcopy(module).double().train()
    outputs: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: Tensor) -> Tensor:
        output.retain_grad()
        outputs.append(output)
        return output.clone()

    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(keep)
    cross_entropy(module(x.double()), y).backward()
    total = 0.0
    for a in outputs:
        if a.grad is None:
            continue
        for channel in range(a.shape[1]):
            for image in range(len(a)):
                total += float((a.detach()[image, channel] * a.grad[image, channel]).sum()) ** 2 / 2 / len(a)
    return total


def synflow(module: nn.Module, ones: Tensor) -> float:
    """By a network without BatchNorm (its scales and shifts must be 1 and 0), weights' magnitudes put in its place."""
    module = copy.deepcopy(module).double().train()
    for inner in list(module.modules()):
        for name, child in inner.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(inner, name, nn.Identity())
    for parameter in module.parameters():
        parameter.data = parameter.data.abs()
    module(ones.double()).sum().backward()
    flow = 0.0
    for weight in _weights(module).values():
        if weight.grad is not None:
            flow += sum(
                abs(w * g) for w, g in zip(weight.flatten().tolist(), weight.grad.flatten().tolist(), strict=True)
            )
    return math.log(flow)


def jacob_cov(module: nn.Module, x: Tensor) -> float:
    module = copy.deepcopy(module).double().train()
    images = [image.double().requires_grad_() for image in x]
    module(torch.stack(images)).sum().backward()
    rows = np.stack([image.grad.flatten().numpy() for image in images if image.grad is not None])
    total = 0.0
    for value in np.linalg.eigvals(np.corrcoef(rows)).real:
        total -= math.log(value + 1e-5) + 1 / (value + 1e-5)
    return total
