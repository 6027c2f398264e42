"""A pre-training run: its records, its directory, its checkpoints, and what happens around `model.fit`."""
