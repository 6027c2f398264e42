"""The pretrainer, its optimizer, and what happens around `model.fit`: logs, checkpoints, resume."""
