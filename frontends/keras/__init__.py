"""Keras models, walked layer by layer."""
