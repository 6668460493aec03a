"""Shared by all frontends: the tape, axis layouts, einsum, constant folding, the trace request."""
