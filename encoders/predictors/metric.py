"""What labels measure: a name, a unit, and whether lower is better."""

from __future__ import annotations

import logging
import re
from dataclasses import asdict, dataclass
from typing import Any, Self

from cgir.errors import LabelError

# Words in the names of metrics, as label tables and benchmarks call them.
LOWER = {
    "latency", "lat", "time", "runtime", "duration", "energy", "power", "loss", "error", "err", "ppl", "perplexity",
    "mse", "mae", "rmse", "nll", "wer", "cer", "fid", "flops", "macs", "params", "memory",
}  # fmt: skip
UNITS = {"ns": "ns", "us": "us", "ms": "ms", "kwh": "kWh", "wh": "Wh", "mj": "mJ", "mw": "mW", "mb": "MB", "gb": "GB"}
SECONDS = ("s", "sec", "secs", "seconds")  # a unit beside a word for time only: one letter says little
TIMES = {"latency", "lat", "time", "runtime", "duration"}
COSTS = {*TIMES, "energy", "power", "flops", "macs", "params", "memory", "throughput", "fps"}  # decided by sizes
WORDS = re.compile(r"[^\W_]+")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Metric:
    """What labels measure: `name`, `unit` ("" where there is none), and whether lower is better."""

    name: str = "score"
    unit: str = ""
    lower_is_better: bool = False

    def __post_init__(self) -> None:
        for field, kind in (("name", str), ("unit", str), ("lower_is_better", bool)):
            if type(value := getattr(self, field)) is not kind:
                raise LabelError(f"metric: {field}={value!r:.60}; expected a value of type {kind.__name__}")

    def __str__(self) -> str:
        unit = f" in {self.unit}" if self.unit else ""
        return f"{self.name}{unit}, {'lower' if self.lower_is_better else 'higher'} is better"

    @property
    def sign(self) -> int:
        """1 where higher is better, else -1: times this, higher is better."""
        return -1 if self.lower_is_better else 1

    @property
    def learned_sign(self) -> int:
        """Labels times this are learned: they grow with a network's size, as most of what is known before labels does.

        Quality does, so that a loss is turned; time and energy do as they are, and a throughput is turned.
        """
        words = {word.lower() for word in WORDS.findall(self.name)}
        is_cost = bool(COSTS & words or self.unit in ("s", *UNITS.values()))
        return -self.sign if is_cost else self.sign

    @classmethod
    def guess(cls, name: str) -> Self:
        """The metric that a name tells: "latency_ms" is in milliseconds, and lower is better; "accuracy" is higher.

        Whoever guesses says so: `Predictor.fit(..., metric="latency_ms")` logs it, the command line too.
        """
        words = [word.lower() for word in WORDS.findall(name)]
        units = [UNITS[word] for word in words if word in UNITS]
        if not units and TIMES.intersection(words) and words[-1] in SECONDS:
            units = ["s"]
        return cls(name, units[0] if units else "", bool(units or LOWER.intersection(words)))

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def metric_of(metric: Metric | str | None) -> Metric | None:
    """A metric, or what its name tells, which is logged where that turns a ranking round."""
    if isinstance(metric, str):
        metric = Metric.guess(metric)
        if metric.lower_is_better:
            logger.warning("fit: %s, as its name says; give a Metric to say otherwise", metric)
    elif not isinstance(metric, Metric | None):
        raise LabelError(f"fit: metric: found {type(metric).__name__}; expected a Metric, a name, or None")
    return metric
