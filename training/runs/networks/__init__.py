"""The networks of a run: their parts, first weights, fixed points and optimizers."""
