"""Explanations of a score: occlusion and integrated gradients."""
