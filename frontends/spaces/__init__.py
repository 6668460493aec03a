"""Search spaces: spec strings <-> specs <-> canonical graphs <-> PyTorch modules.

`get("nasbench201", channels=8)` makes one.
"""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module
from typing import Any, NamedTuple

from cgir.errors import SpecError

from .space import Space as Space


class SpaceEntry(NamedTuple):
    """Where a search space is defined; it is imported on demand, so that unused spaces cost nothing.

    Attributes:
        module: name below `frontends.spaces`.
        class_name: the subclass of `Space` in it.
    """

    module: str
    class_name: str

    def load(self) -> type[Space[Any]]:
        """The class of the space."""
        space: type[Space[Any]] = getattr(import_module(f".{self.module}", __package__), self.class_name)
        return space


SPACES = {
    "nasbench101": SpaceEntry("nasbench101.space", "NasBench101"),
    "nasbench201": SpaceEntry("nasbench201.space", "NasBench201"),
    "nasbench_macro": SpaceEntry("nasbench_macro.space", "NasBenchMacro"),
    "ofa_mbv3": SpaceEntry("mbconv.ofa_mbv3", "OfaMobileNetV3"),
    "mnasnet": SpaceEntry("mbconv.mnasnet", "MnasNet"),
    "proxylessnas": SpaceEntry("mbconv.proxylessnas", "ProxylessNas"),
    "nasbench_nlp": SpaceEntry("nasbench_nlp.space", "NasBenchNlp"),
    "darts": SpaceEntry("darts.space", "Darts"),
    "nasnet": SpaceEntry("darts.nasnet", "NasNet"),
    "nasbench1shot1": SpaceEntry("nasbench101.one_shot", "NasBench1Shot1"),
    "transnas_micro": SpaceEntry("transnas.micro", "TransNasMicro"),
    "transnas_macro": SpaceEntry("transnas.macro", "TransNasMacro"),
    "gpt": SpaceEntry("gpt.space", "Gpt"),
    "naap440": SpaceEntry("plain_cnn.naap440", "Naap440"),
    "metaqnn": SpaceEntry("plain_cnn.metaqnn", "MetaQnn"),
    "cifar_resnet": SpaceEntry("plain_cnn.cifar_resnet", "CifarResNet"),
    "mobilenetv2": SpaceEntry("mbconv.mobilenetv2", "MobileNetV2"),
    "lstm": SpaceEntry("lstm.space", "Lstm"),
    "nasbench_graph": SpaceEntry("graph_networks.nasbench_graph", "NasBenchGraph"),
    "graphgym": SpaceEntry("graph_networks.graphgym", "GraphGym"),
}


def get(name: str, **skeleton: Any) -> Space[Any]:
    """The search space `name`.

    Args:
        name: a key of `SPACES`.
        skeleton: fields of its class (channels, cells, image, classes ...); defaults as published.

    Raises:
        SpecError: no such space, no such field, or a field that is not made of positive integers.
    """
    if not isinstance(name, str) or name not in SPACES:
        raise SpecError(f"no search space is called {name!r}; there are {', '.join(SPACES)}")
    space = SPACES[name].load()
    names = [field.name for field in fields(space)]  # type: ignore[arg-type]
    unknown = sorted(set(skeleton) - set(names))
    if unknown:
        raise SpecError(f"{name}: its skeleton has no {', '.join(unknown)}; it has {', '.join(names)}")
    # tuples, because a space is hashable; JSON has lists only
    return space(**{key: tuple(value) if isinstance(value, list) else value for key, value in skeleton.items()})
