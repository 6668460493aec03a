"""PyTorch modules with weights as the command line names them, and the examples that they are shown."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cgir.errors import CgirError, TraceError

from .targets import open_target

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Examples:
    """A batch.

    Attributes:
        inputs: of the networks.
        labels: (B,); None where inputs are random.
        classes: number of classes; None where inputs are random.
    """

    inputs: tuple[Tensor, ...]
    labels: Tensor | None = None
    classes: int | None = None

    @property
    def image(self) -> tuple[int, ...]:
        """Shape of one example of the first input."""
        return tuple(self.inputs[0].shape[1:])

    def targets_of(self, module: nn.Module, name: str, seed: int) -> Tensor | None:
        """The labels; where inputs are random, as many random classes as the module has, None if it has no classes.

        Args:
            module: the network.
            name: of it, in messages.
            seed: of random labels.

        Raises:
            TraceError: the module refuses the inputs.
        """
        import torch

        import frontends

        if self.labels is not None:
            return self.labels
        try:
            outputs = [node for node in frontends.trace(module, self.inputs).nodes if node.op == "Output"]
        except TraceError as error:
            raise TraceError(f"{name}: {error}") from error
        if len(outputs) != 1 or len(outputs[0].shape) != 1:
            return None
        batch = self.inputs[0].shape[:1]
        return torch.randint(outputs[0].shape[0], batch, generator=torch.Generator().manual_seed(seed))


def read_examples(args: argparse.Namespace) -> Examples:
    """Images drawn from `--data`, or random numbers of `--input-shape`.

    Raises:
        CgirError: both or neither is given, or there are fewer images than `--batch`.
    """
    import torch

    from search.one_shot import load_images

    if (args.data is None) == (args.input_shape is None):
        raise CgirError(
            "what shall the networks see? Give either --data digits, cifar10 or FILE.npz, "
            "or --input-shape 64,3,32,32 for random images"
        )
    generator = torch.Generator().manual_seed(args.seed)
    if args.data is None:
        if args.size:
            raise CgirError(f"--size {args.size} belongs to --data; with --input-shape the shape has the size")
        return Examples(tuple(torch.randn(shape, generator=generator) for shape in args.input_shape))
    images = load_images(args.data, args.size)
    if args.batch > len(images):
        raise CgirError(f"--batch {args.batch}: {args.data} has {len(images):,} images; expected no more")
    drawn = images.select(torch.randperm(len(images), generator=generator)[: args.batch])
    return Examples((drawn.pixels,), drawn.labels, images.classes)


def model_names(targets: Iterable[str]) -> list[str]:
    """The networks of data sets, as SPACE:NETWORK, and all other targets as they are; without repeated ones.

    Raises:
        CgirError: there is no target, or a data set has networks of no search space.
    """
    names = dict.fromkeys(name for target in targets if target.strip() for name in _names(target.strip()))
    if not names:
        raise CgirError("the list of networks is empty; expected one a line")
    return list(names)


def build_model(name: str, examples: Examples, seed: int) -> nn.Module:
    """A newly initialised PyTorch module.

    Args:
        name: what `frontends.build` takes, or SPACE:NETWORK, whose skeleton is the published one for these examples.
        examples: that it has to take.
        seed: of its weights.

    Raises:
        CgirError: the name is no PyTorch module, or no network of the space.
    """
    from torch import nn

    import frontends
    from encoders.training.seeding import seeded

    space, _, spec = name.partition(":")
    with seeded(seed):
        if space in frontends.spaces.SPACES:
            return _of_space(space, spec, examples)
        module = frontends.build(name, weights=True)
    if not isinstance(module, nn.Module):
        found = "a file" if isinstance(module, str | os.PathLike) else f"a {type(module).__name__}"
        raise CgirError(f"{name}: {found}; proxies need a PyTorch module, such as net.py:build")
    return module


def _names(target: str) -> list[str]:
    from frontends.spaces import SPACES

    store = open_target(target)
    if isinstance(store, str):
        return [store]
    for family, spec in zip(store.families, store.specs, strict=True):
        if family not in SPACES or not spec:
            raise CgirError(f"{target}: a network of {family or 'no family'!r}; expected those of a search space")
    return [f"{family}:{spec}" for family, spec in zip(store.families, store.specs, strict=True)]


def _of_space(name: str, text: str, examples: Examples) -> nn.Module:
    from dataclasses import fields

    from frontends.spaces import get

    space = get(name)
    names = {field.name for field in fields(space)}  # type: ignore[arg-type]
    skeleton = {"image": examples.image} | ({} if examples.classes is None else {"classes": examples.classes})
    space = get(name, **{key: value for key, value in skeleton.items() if key in names})
    return space.module(space.parse(text))
