"""TensorFlow functions, SavedModels and frozen graphs."""
