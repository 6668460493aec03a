"""Computation graphs of neural networks: one representation for every framework and every search space."""

from .builder import GraphBuilder as GraphBuilder
from .errors import CgirError as CgirError
from .errors import FileFormatError as FileFormatError
from .errors import InvalidGraphError as InvalidGraphError
from .errors import LabelError as LabelError
from .errors import SpecError as SpecError
from .errors import TraceError as TraceError
from .errors import UnsupportedOpError as UnsupportedOpError
from .graph import Graph as Graph
from .graph import Node as Node
from .graph import NodeKind as NodeKind
from .graph import Param as Param
from .passes import canonicalize as canonicalize
