"""DARTS and NASNet: pairs of cells."""
