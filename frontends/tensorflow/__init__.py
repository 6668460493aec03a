"""The TensorFlow frontend: see `importer` for its entry point."""
