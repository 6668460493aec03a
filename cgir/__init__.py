"""Computation graphs of neural networks: one representation for every framework and every search space."""

from .builder import GraphBuilder as GraphBuilder
from .coloring import isomorphic as isomorphic
from .diff import diff as diff
from .errors import CgirError as CgirError
from .errors import FileFormatError as FileFormatError
from .errors import InvalidGraphError as InvalidGraphError
from .errors import LabelError as LabelError
from .errors import SpecError as SpecError
from .errors import TraceError as TraceError
from .errors import UnsupportedOpError as UnsupportedOpError
from .features import GraphBatch as GraphBatch
from .graph import Graph as Graph
from .graph import Node as Node
from .graph import NodeKind as NodeKind
from .graph import Param as Param
from .kernel import wl_distance as wl_distance
from .kernel import wl_features as wl_features
from .passes import canonicalize as canonicalize
from .serialize import load as load
from .spectrum import spectral_distance as spectral_distance
from .spectrum import spectrum as spectrum
from .store import GraphStore as GraphStore
from .verify import verify as verify
