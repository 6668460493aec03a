"""`select`: the specification that a rule reads from a trained supernet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from inspect import Parameter, signature
from os import PathLike
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from cgir.atomic_files import atomic_path
from cgir.errors import CgirError
from cgir.typing import FloatArray
from encoders.engine.devices import Device, as_device
from frontends.spaces import Space
from frontends.torch.surroundings import in_plain_surroundings
from frontends.torch.thread_count import threads_for
from search.seeds import check_seed
from search.zero_cost.isolation import isolated

from .arguments import check_types
from .cell_pictures import cell_pictures
from .choices import Choice, Picks, option_scores
from .drawing import selection_svg
from .images import Images
from .influence import influence, influential_magnitude
from .network import Supernet
from .perturbation import perturbation, zero_cost
from .ranking import Ranking, Rule, ranked
from .trained import Trained, check_trained

BATCH = 64  # images that most rules read at once, or more


@dataclass(frozen=True)
class Selected:
    """A selected specification and what it was selected by.

    Attributes:
        spec: of `space`.
        space: of the supernet, with its skeleton.
        rule: by which name it was selected.
        choices: what the specification decides.
        scores: for each choice those of its options; higher is better.
        picks: for each choice its chosen options.
        seconds: that the rule took.
        options: of the rule, with its seed.
    """

    spec: Any
    space: Space[Any]
    rule: str
    choices: tuple[Choice, ...]
    scores: tuple[FloatArray, ...]
    picks: Picks
    seconds: float
    options: Mapping[str, Any]

    @property
    def spec_string(self) -> str:
        """The specification as its space writes it."""
        return self.space.format(self.spec)

    def table(self) -> str:
        """Every option with its score, one choice a line, an asterisk behind what is chosen."""
        width = max(len(choice.name) for choice in self.choices)
        lines = [f"{self.rule}: {self.spec_string}"]
        for choice, scores, chosen in zip(self.choices, self.scores, self.picks, strict=True):
            cells = (
                f"{name} {score:.4g}{'*' if option in chosen else ''}"
                for option, (name, score) in enumerate(zip(choice.options, scores, strict=True))
            )
            lines.append(f"{choice.name:{width}}  {'  '.join(cells)}")
        return "\n".join(lines)

    def svg(self) -> str:
        """The selected cell, and the scores of all options with the chosen outlined; also a complete file."""
        options = ", ".join(f"{name}={value}" for name, value in self.options.items() if value != ())
        return selection_svg(
            f"{self.space.name}: {self.rule}",
            f"{self.spec_string}  ({options}; {self.seconds:.3g} s)",
            cell_pictures(self.space.name, self.spec),
            self.choices,
            self.scores,
            self.picks,
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Write the drawing as an SVG file; CgirError if it is called otherwise."""
        if Path(path).suffix.lower() != ".svg":
            raise CgirError(f"{path}: the drawing is an SVG file; call it {Path(path).with_suffix('.svg')}")
        with atomic_path(path) as temporary:
            temporary.write_text(self.svg(), encoding="utf-8")


def argmax(trained: Trained, images: Images, *, seed: int, exclude: Collection[str], progress: bool) -> Ranking:
    """The options of the largest weights (DARTS, Liu et al. 2019, section 2.4), the earlier of equal ones.

    Looks at no image.

    Args:
        trained: the supernet and its mixture.
        images: not needed.
        seed: not needed.
        exclude: names of options that are not chosen.
        progress: not needed.
    """
    supernet = trained.supernet
    magnitudes = supernet.magnitudes(trained.mixture.detach()).double().cpu().numpy()
    return ranked(supernet.choices, option_scores(supernet.choices, magnitudes), exclude)


def random(trained: Trained, images: Images, *, seed: int, exclude: Collection[str], progress: bool) -> Ranking:
    """Any options with equal probability: what every rule has to beat.

    Args:
        trained: the supernet; only its choices are read.
        images: not needed.
        seed: of the scores, which are uniform between 0 and 1.
        exclude: names of options that are not chosen.
        progress: not needed.
    """
    rng, choices = np.random.default_rng(seed), trained.supernet.choices
    return ranked(choices, [rng.random(len(choice.options)) for choice in choices], exclude)


RULES: dict[str, Rule] = {
    "argmax": argmax,
    "perturbation": perturbation,
    "zero_cost": zero_cost,
    "influence": influence,
    "influential_magnitude": influential_magnitude,
    "random": random,
}


@in_plain_surroundings(grad=True)
def select(
    trained: Trained,
    images: Images,
    rule: str = "argmax",
    *,
    seed: int = 0,
    exclude: Collection[str] = (),
    progress: bool = True,
    device: Device = "auto",
    **options: Any,
) -> Selected:
    """Select a specification from a supernet; the supernet stays as it is.

    Args:
        trained: a supernet and its mixture, from `train` or `untrained`.
        images: validation images, of which rules draw seeded batches.
        rule: a key of `RULES`.
        seed: of batches and of every random decision.
        exclude: names of options that are not chosen, as ("none",).
        progress: show a progress bar where the rule takes long.
        device: "auto", "cpu" or "cuda".
        options: of the rule.

    Raises:
        CgirError: no such rule, option or operation, images that do not fit, or a score that is not defined.
    """
    if not isinstance(rule, str) or rule not in RULES:
        raise CgirError(f"one_shot.select: no rule is called {rule!r}; there are {', '.join(RULES)}")
    check_options(f"one_shot.select: {rule}", RULES[rule], options)
    check_seed("one_shot.select", seed)
    check_trained(trained, images)
    excluded = checked_exclude(trained.supernet, exclude)
    own = on_device(trained, device)
    start = perf_counter()
    numbers = own.supernet.numbers(options.get("batch", BATCH))
    with isolated(seed, own.logits.device), threads_for(numbers):
        ranking = RULES[rule](own, images, seed=seed, exclude=excluded, progress=progress, **options)
    seconds = perf_counter() - start
    texts = {name: value.name if isinstance(value, Images) else value for name, value in options.items()}
    return selected(trained.supernet, rule, ranking, seconds, {"seed": seed, "exclude": excluded} | texts)


def selected(supernet: Supernet, rule: str, ranking: Ranking, seconds: float, options: Mapping[str, Any]) -> Selected:
    """What a ranking of a supernet's options selects.

    Args:
        supernet: whose choices are ranked.
        rule: its name.
        ranking: scores and picks.
        seconds: that it took.
        options: by which it was made.
    """
    spec = supernet.spec(ranking.picks)
    return Selected(spec, supernet.space, rule, supernet.choices, *ranking, seconds, options)


def check_options(what: str, rule: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """CgirError unless the rule has all these options, and each is of its default's type.

    Args:
        what: the rule, in the message.
        rule: its function.
        options: by name.
    """
    parameters = signature(rule).parameters.values()
    own = {p.name: p.default for p in parameters if p.kind is Parameter.KEYWORD_ONLY}
    own = {name: default for name, default in own.items() if default is not Parameter.empty}
    for name in options:
        if name not in own:
            raise CgirError(f"{what} has no option {name!r}; its options are {', '.join(own) or 'none'}")
    check_types(what, options, own)


def checked_exclude(supernet: Supernet, exclude: Collection[str]) -> tuple[str, ...]:
    """Names of options, sorted; CgirError if the supernet has no option of a name."""
    given = {exclude} if isinstance(exclude, str) else exclude
    if not isinstance(given, Collection) or not all(isinstance(name, str) for name in given):
        raise CgirError(f"one_shot: exclude={exclude!r}; expected names of options, such as ('none',)")
    names = tuple(sorted(set(given)))
    known = list(dict.fromkeys(option for choice in supernet.choices for option in choice.options))
    for name in names:
        if name not in known:
            raise CgirError(
                f"one_shot: exclude={name!r} is no option of {supernet.space.name}; it has {', '.join(known)}"
            )
    for choice in supernet.choices:
        choice.allowed(names)  # at once, and not after a rule's work
    return names


def on_device(trained: Trained, device: Device) -> Trained:
    """A copy of a supernet and its logits on a device, free of gradients."""
    supernet = deepcopy(trained.supernet).to(as_device(device))
    for weight in supernet.parameters():
        weight.grad = None
        weight.requires_grad_()
    return replace(trained, supernet=supernet, logits=trained.logits.detach().clone().to(next(supernet.parameters())))
