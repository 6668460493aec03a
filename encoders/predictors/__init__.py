"""Predictors: labelled graphs in, scores of other graphs out."""
