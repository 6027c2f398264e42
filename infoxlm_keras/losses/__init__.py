"""Losses as pure functions: masked-LM cross-entropy, InfoNCE, and how tasks are combined."""
