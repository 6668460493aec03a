"""What all frontends share: the tape, axis layouts, einsum, constant folding, the trace request."""
