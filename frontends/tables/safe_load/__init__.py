"""Readers of pickles, PyTorch files, TFRecords and archives that run nothing."""
