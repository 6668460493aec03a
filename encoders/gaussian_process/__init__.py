"""Gaussian process regression and Bayesian averages of it; plain numerics."""
