"""Graph encoders and heads, and their checkpoints."""
