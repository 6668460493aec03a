"""Readers of pickles, PyTorch files, TFRecords and archives that execute no code."""
