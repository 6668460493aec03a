"""Families of graph neural networks, on one stand-in graph of given size."""
