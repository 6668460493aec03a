"""One file, one thing, on a laptop in about a minute; `papers` reproduces published tables."""
