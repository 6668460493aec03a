"""Corpora of real networks that nobody here wrote, and what must hold on each: `python -m benchmarks.zoo --help`."""
