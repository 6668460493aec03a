"""Computation graphs from models and search spaces: tracing, search spaces, benchmark tables.

A framework is imported when the first of its models is traced.
"""

from . import spaces as spaces
from . import tables as tables
from .many_models import trace_many as trace_many
from .model_loading import build as build
from .tracing import trace as trace
