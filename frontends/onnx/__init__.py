"""The ONNX frontend: see `importer` for its entry point."""
