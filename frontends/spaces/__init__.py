"""Search spaces: strings <-> specs <-> canonical graphs <-> PyTorch modules. `get("nasbench201", channels=8)` is the
only door.
"""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module
from typing import Any

from cgir.errors import SpecError

from .space import Space as Space

# Name -> (module, class), imported on demand, so that a new space costs nothing to those who do not use it.
SPACES = {
    "nasbench101": ("nasbench101.space", "NasBench101"),
    "nasbench201": ("nasbench201.space", "NasBench201"),
    "nasbench_macro": ("nasbench_macro.space", "NasBenchMacro"),
    "ofa_mbv3": ("mbconv.ofa_mbv3", "OfaMobileNetV3"),
    "mnasnet": ("mbconv.mnasnet", "MnasNet"),
    "proxylessnas": ("mbconv.proxylessnas", "ProxylessNas"),
    "nasbench_nlp": ("nasbench_nlp.space", "NasBenchNlp"),
    "darts": ("darts.space", "Darts"),
    "nasnet": ("darts.nasnet", "NasNet"),
    "nasbench1shot1": ("nasbench101.one_shot", "NasBench1Shot1"),
    "transnas_micro": ("transnas.micro", "TransNasMicro"),
    "transnas_macro": ("transnas.macro", "TransNasMacro"),
}


def get(name: str, **skeleton: Any) -> Space[Any]:
    """The search space `name`; `skeleton` are the fields of its class (channels, cells, image, classes ...), defaults
    as published.

    Raises:
        SpecError: no such space, no such field, or a field that is not made of positive integers.
    """
    if name not in SPACES:
        raise SpecError(f"no search space is called {name!r}; there are {', '.join(SPACES)}")
    module, class_name = SPACES[name]
    space: type[Space[Any]] = getattr(import_module(f".{module}", __package__), class_name)
    known = [field.name for field in fields(space)]  # type: ignore[arg-type]
    unknown = sorted(set(skeleton) - set(known))
    if unknown:
        raise SpecError(f"{name}: its skeleton has no {', '.join(unknown)}; it has {', '.join(known)}")
    # JSON knows no tuples, and a space is hashable
    return space(**{key: tuple(value) if isinstance(value, list) else value for key, value in skeleton.items()})
