"""Search spaces: strings <-> specs <-> canonical graphs <-> PyTorch modules. `get("nasbench201", channels=8)` is the only door."""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module
from typing import Any

from cgir.errors import SpecError

from .space import Space as Space

# Imported on demand, so that a new space costs nothing to those who do not use it.
SPACES = {
    "nasbench101": "NasBench101",
    "nasbench201": "NasBench201",
    "nasbench_macro": "NasBenchMacro",
    "ofa_mbv3": "OfaMobileNetV3",
    "mnasnet": "MnasNet",
    "proxylessnas": "ProxylessNas",
    "nasbench_nlp": "NasBenchNlp",
    "darts": "Darts",
    "nasnet": "NasNet",
    "nasbench1shot1": "NasBench1Shot1",
    "transnas_micro": "TransNasMicro",
    "transnas_macro": "TransNasMacro",
}


def get(name: str, **skeleton: Any) -> Space[Any]:
    """The search space `name`; `skeleton` are the fields of its class (channels, cells, image, classes ...), defaults as published.

    Raises:
        SpecError: no such space, no such field, or a field that is not made of positive integers.
    """
    if name not in SPACES:
        raise SpecError(f"no search space is called {name!r}; there are {', '.join(SPACES)}")
    space: type[Space[Any]] = getattr(import_module(f".{name}", __package__), SPACES[name])
    known = [field.name for field in fields(space)]  # type: ignore[arg-type]
    unknown = sorted(set(skeleton) - set(known))
    if unknown:
        raise SpecError(f"{name}: its skeleton has no {', '.join(unknown)}; it has {', '.join(known)}")
    # JSON knows no tuples, and a space is hashable
    return space(**{key: tuple(value) if isinstance(value, list) else value for key, value in skeleton.items()})
