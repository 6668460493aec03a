"""Drawings of graphs: SVG, PNG, HTML and DOT, collapsed to modules, shaded by importance; and tables of text."""

from .diff_page import diff_to_html as diff_to_html
from .export import dump as dump
from .export import summary as summary
from .export import to_dot as to_dot
from .export import to_html as to_html
from .export import to_networkx as to_networkx
from .export import to_png as to_png
from .export import to_svg as to_svg
from .importance import Importance as Importance
from .module_blocks import MAX_BOXES as MAX_BOXES
from .module_blocks import BlockDiagram as BlockDiagram
from .module_blocks import collapse as collapse
from .module_blocks import every_node as every_node
