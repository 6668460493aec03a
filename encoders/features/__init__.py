"""Vectors of graphs that need no training, and transforms of labels."""
