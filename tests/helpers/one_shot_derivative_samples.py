"""Small supernets in float64, and their losses, for the tests of derivatives and of what is made of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from search.one_shot import Images, Supernet, Trained, load_images, supernet
from search.one_shot.derivatives import Loss, Point, batch_loss, supernet_point


def digits(count: int, seed: int = 0) -> Images:
    """Some of the digits."""
    images = load_images("digits")
    return images.select(torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:count])


def double_supernet(seed: int = 0, smooth: bool = False, **options: Any) -> Supernet:
    """NAS-Bench-201's supernet for digits in float64; `smooth` has SiLU in place of ReLU."""
    network = supernet("nasbench201", channels=2, cells=1, image=(1, 8, 8), seed=seed, **options).double()
    if smooth:
        for module in list(network.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.ReLU):
                    setattr(module, name, nn.SiLU())
    return network


def double_trained(seed: int = 0, **options: Any) -> Trained:
    """A supernet after some steps of SGD, at a random mixture."""
    network = double_supernet(seed, **options)
    logits = torch.randn(network.num_weights, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    images = digits(64, seed)
    for _ in range(5):
        optimizer.zero_grad()
        answers = network(images.pixels.double(), network.mix(logits))
        nn.functional.cross_entropy(answers, images.labels).backward()
        optimizer.step()
    optimizer.zero_grad()
    return Trained(network, logits, [], {})


def sample_loss(network: Supernet, count: int = 8, seed: int = 0) -> tuple[Loss, Point]:
    """The loss of some digits, and the supernet's weights with a random mixture."""
    images = digits(count, seed)
    logits = torch.randn(network.num_weights, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    loss = batch_loss(network, (images.pixels.double(), images.labels))
    return loss, supernet_point(network, network.mix(logits))


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Norm of the difference over the norm of what is expected."""
    return float((found - expected).norm() / expected.norm())


def lemma_2(vector: Tensor, gradients: Tensor, eta: float) -> Tensor:
    """The recursion as printed, with r_j the product of the inverse of the first j - 1 and gradient j."""
    products: list[Tensor] = []

    def product(v: Tensor) -> Tensor:
        result = v / eta
        for gradient, r in zip(gradients, products, strict=False):
            result = result - r * (r @ v) / (len(gradients) + gradient @ r)
        return result

    for gradient in gradients:
        products.append(product(gradient))  # noqa: PERF401  (which reads the products so far)
    return product(vector)
