"""The training loop of predictors, its losses and seeds."""
