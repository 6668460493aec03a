"""Data sets of graphs on disk: Parquet shards under a manifest."""

from .graph_store import Content as Content
from .graph_store import GraphStore as GraphStore
from .manifest import MANIFEST as MANIFEST
from .part_jobs import Job as Job
