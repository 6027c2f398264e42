"""One update: the pretrainer, the training step of each backend, and the optimizer."""
