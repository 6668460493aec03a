"""Computation graphs of neural networks: one representation for every framework and every search space.

Names are imported when they are first used: `cgir --help`, and programs that read graphs only, need neither SciPy nor
PyArrow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .analysis.graph_diff import diff as diff
    from .analysis.isomorphism import isomorphic as isomorphic
    from .analysis.laplacian_spectrum import spectral_distance as spectral_distance
    from .analysis.laplacian_spectrum import spectrum as spectrum
    from .analysis.wl_kernel import wl_distance as wl_distance
    from .analysis.wl_kernel import wl_features as wl_features
    from .builder import GraphBuilder as GraphBuilder
    from .errors import CgirError as CgirError
    from .errors import FileFormatError as FileFormatError
    from .errors import InvalidGraphError as InvalidGraphError
    from .errors import LabelError as LabelError
    from .errors import LimitError as LimitError
    from .errors import SpecError as SpecError
    from .errors import TraceError as TraceError
    from .errors import UnsupportedOpError as UnsupportedOpError
    from .graph import Gap as Gap
    from .graph import Graph as Graph
    from .graph import Node as Node
    from .graph import NodeKind as NodeKind
    from .graph import Param as Param
    from .graph_batch import GraphBatch as GraphBatch
    from .limits import Limits as Limits
    from .passes import canonicalize as canonicalize
    from .serialize import load as load
    from .store.graph_store import GraphStore as GraphStore
    from .verifier import verify as verify

__version__ = "0.1.0"

_NAMES = {
    "analysis.graph_diff": ("diff",),
    "analysis.isomorphism": ("isomorphic",),
    "analysis.laplacian_spectrum": (
        "spectral_distance",
        "spectrum",
    ),
    "analysis.wl_kernel": (
        "wl_distance",
        "wl_features",
    ),
    "builder": ("GraphBuilder",),
    "errors": (
        "CgirError",
        "FileFormatError",
        "InvalidGraphError",
        "LabelError",
        "LimitError",
        "SpecError",
        "TraceError",
        "UnsupportedOpError",
    ),
    "graph": (
        "Gap",
        "Graph",
        "Node",
        "NodeKind",
        "Param",
    ),
    "graph_batch": ("GraphBatch",),
    "limits": ("Limits",),
    "passes": ("canonicalize",),
    "serialize": ("load",),
    "store.graph_store": ("GraphStore",),
    "verifier": ("verify",),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HOMES})
