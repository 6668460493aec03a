"""Data sets of graphs on disk: Parquet shards under a manifest."""
