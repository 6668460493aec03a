"""The Keras frontend: see `importer` for its entry point."""
