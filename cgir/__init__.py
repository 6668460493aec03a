"""Computation graphs of neural networks: one representation for every framework and every search space."""

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
