"""Drawings of graphs: SVG, HTML and DOT, collapsed to modules, shaded by importance."""
