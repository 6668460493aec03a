"""Selection rules and the controls beside them, by the names they have in the tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from examples.papers.one_shot_jobs import SPACES, Job
from search.one_shot import Images, Selected, Trained, causal, one_shot_statistics, select


@dataclass(frozen=True)
class Setting:
    """What a method may use.

    Attributes:
        trained: supernet after the bilevel training.
        start: the same supernet before it.
        start_normalized: an untrained one with BatchNorm behind operations without weights too.
        train: images that weights were trained on.
        valid: images that the architecture was trained on.
        seed: of the run.
    """

    trained: Trained
    start: Trained
    start_normalized: Trained
    train: Images
    valid: Images
    seed: int


Method = Callable[[Setting], Selected]
IM = "influential_magnitude"


def _trained(setting: Setting, rule: str, **options: Any) -> Selected:
    return select(setting.trained, setting.valid, rule, seed=setting.seed, progress=False, **options)


def _untrained(setting: Setting, rule: str, **options: Any) -> Selected:
    return select(setting.start, setting.valid, rule, seed=setting.seed, progress=False, **options)


def _normalized(setting: Setting, rule: str, **options: Any) -> Selected:
    return select(setting.start_normalized, setting.valid, rule, seed=setting.seed, progress=False, **options)


def _tuned(setting: Setting) -> Selected:
    return _trained(setting, "perturbation", tune_steps=100, train=setting.train)


def _causal(setting: Setting, **options: Any) -> Selected:
    return causal(setting.start.supernet, setting.valid, seed=setting.seed, repeats=1, progress=False, **options)


def _causal_chance(setting: Setting) -> Selected:
    """By other random numbers than those of `_causal_prior`, which would else select the same cells."""
    seed = setting.seed + 1000
    return causal(setting.start.supernet, setting.valid, prior="global", seed=seed, repeats=1, progress=False)


def _causal_prior(setting: Setting, game: bool) -> Selected:
    statistics = one_shot_statistics(setting.trained, setting.valid, seed=setting.seed, progress=False)
    return _causal(setting, p=1.0, prior="operation", statistics=statistics, game=game)


TRAINED: dict[str, Method] = {
    "argmax": partial(_trained, rule="argmax"),
    "perturbation": partial(_trained, rule="perturbation"),
    "perturbation by loss": partial(_trained, rule="perturbation", criterion="loss"),
    "perturbation, fine-tuned": _tuned,
    "influence": partial(_trained, rule="influence"),
    "influence, none excluded": partial(_trained, rule="influence", exclude=("none",)),
    "influential magnitude": partial(_trained, rule=IM),
    "influential magnitude, none excluded": partial(_trained, rule=IM, exclude=("none",)),
    "influential magnitude, H = I": partial(_trained, rule=IM, inverse="identity"),
    "influential magnitude, Neumann": partial(_trained, rule=IM, inverse="neumann"),
    "influential magnitude, conjugate gradients": partial(_trained, rule=IM, inverse="conjugate_gradients"),
    "influential magnitude, published finite differences": partial(_trained, rule=IM, published=True),
}
UNTRAINED: dict[str, Method] = {
    "influential magnitude, untrained": partial(_untrained, rule=IM),
    "influential magnitude, untrained, H = I": partial(_untrained, rule=IM, inverse="identity"),
    "influential magnitude, untrained, none excluded": partial(_untrained, rule=IM, exclude=("none",)),
    "influential magnitude, untrained, all normalised, none excluded": partial(_normalized, rule=IM, exclude=("none",)),
    "zero-cost perturbation, naswot": partial(_untrained, rule="zero_cost", proxy="naswot"),
    "zero-cost perturbation, grad_norm": partial(_untrained, rule="zero_cost", proxy="grad_norm"),
    "causal, observed (p = 0)": partial(_causal, p=0.0),
    "causal, p = 1, global prior": _causal_chance,
    "causal, p = 1, prior of each operation": partial(_causal_prior, game=False),
    "causal game, p = 0": partial(_causal, p=0.0, game=True),
    "causal game, p = 1, prior of each operation": partial(_causal_prior, game=True),
}
METHODS = {**TRAINED, **UNTRAINED}
# On NAS-Bench-1Shot1 the paper compares argmax, perturbation and influential magnitude; its vertices have no `none`.
ONE_SHOT = (
    "argmax",
    "perturbation",
    "influential magnitude",
    "influential magnitude, H = I",
    "influential magnitude, published finite differences",
    "influential magnitude, untrained",
    "zero-cost perturbation, naswot",
    "causal, observed (p = 0)",
    "causal, p = 1, prior of each operation",
)
PARTIAL = ("argmax", "perturbation", "influential magnitude")


def methods(job: Job) -> tuple[str, ...]:
    """Names of the methods that are compared on a supernet."""
    if job.partial > 1:
        return PARTIAL
    return ONE_SHOT if SPACES[job.space]["name"] == "nasbench1shot1" else tuple(METHODS)
