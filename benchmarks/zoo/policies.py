"""Policies of stable-baselines3: what an agent runs from an observation to an action, and what training evaluates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .torch_costs import COLUMNS, CPU, Outcome, checked

__all__ = ["COLUMNS", "EXCEPTIONS", "REQUIRES", "cases", "check"]

REQUIRES = ("stable-baselines3", "gymnasium")
EXCEPTIONS: dict[str, str] = dict.fromkeys(
    ("*/discrete: no Opaque", "*/multidiscrete: no Opaque", "*/multibinary: no Opaque"),
    "draws its action from the probabilities that it computes, which the vocabulary lacks",
)

_POLICIES = ("MlpPolicy", "CnnPolicy", "MultiInputPolicy")
_ACTIONS = {
    "PPO": ("discrete", "box", "multidiscrete", "multibinary"),
    "A2C": ("discrete", "box"),
    "DQN": ("discrete",),
    "SAC": ("box",),
    "TD3": ("box",),
    "DDPG": ("box",),
}
PLAYED = ("SAC", "TD3", "DDPG")  # actors whose critics are separate networks


def cases() -> list[str]:
    """Algorithm, policy, actions and, where they are separate, which network: "PPO/MlpPolicy/box"."""
    found = [f"{name}/{policy}/{kind}" for name, kinds in _ACTIONS.items() for kind in kinds for policy in _POLICIES]
    critics = [f"{name}/{policy}/box/critic" for name in PLAYED for policy in _POLICIES]
    evaluated = [f"{name}/{policy}/box/evaluate" for name in ("PPO", "A2C") for policy in _POLICIES]
    return [*found, *critics, *evaluated, "PPO/MlpPolicy/state-dependent", "PPO/MlpPolicy/squashed"]


def check(case: str) -> Outcome:
    """All columns for one policy."""
    return checked(lambda: build(case), devices=(CPU,))  # the policies check where their tensors lie


class _Critic(nn.Module):
    """The critics of an observation and an action."""

    def __init__(self, critic: nn.Module) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, observation: Any, action: Tensor) -> Any:
        return self.critic(observation, action)


class _Evaluated(nn.Module):
    """Values, log probabilities and entropies of actions that were taken."""

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, observation: Any, actions: Tensor) -> Any:
        return self.policy.evaluate_actions(observation, actions)


def build(case: str) -> tuple[nn.Module, tuple[Any, ...]]:
    """A policy with random weights, and an observation."""
    import stable_baselines3

    name, kind, actions, *part = case.split("/")
    algorithm = getattr(stable_baselines3, name)
    box, space = _spaces(kind, actions)
    options: dict[str, Any] = {"state-dependent": {"use_sde": True}, "squashed": {"use_sde": True}}.get(actions, {})
    if actions == "squashed":
        options["squash_output"] = True
    policy = algorithm.policy_aliases[kind](box, space, lambda progress: 1e-3, **options)
    observation = _observation(kind)
    action = torch.zeros(1, 3)
    if part == ["evaluate"]:
        return _Evaluated(policy), (observation, action)
    if part == ["critic"]:
        return _Critic(policy.critic), (observation, action)
    return (policy.actor if name in PLAYED else policy), (observation,)


def _spaces(kind: str, actions: str) -> tuple[Any, Any]:
    from gymnasium import spaces

    image, vector = spaces.Box(0, 255, (3, 64, 64), "uint8"), spaces.Box(-1, 1, (8,))
    observed = {"MlpPolicy": vector, "CnnPolicy": image}.get(kind, spaces.Dict({"image": image, "vector": vector}))
    chosen: dict[str, Callable[[], Any]] = {
        "discrete": lambda: spaces.Discrete(4),
        "multidiscrete": lambda: spaces.MultiDiscrete([3, 4]),
        "multibinary": lambda: spaces.MultiBinary(5),
    }
    return observed, chosen.get(actions, lambda: spaces.Box(-1, 1, (3,)))()


def _observation(kind: str) -> Any:
    image, vector = torch.zeros(1, 3, 64, 64, dtype=torch.uint8), torch.zeros(1, 8)
    return {"MlpPolicy": vector, "CnnPolicy": image}.get(kind, {"image": image, "vector": vector})
