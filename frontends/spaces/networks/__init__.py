"""The searched networks in PyTorch. Only imported from within a space's `module(spec)`."""
