"""The training step, compiled for accelerators that are not at hand: memory, FLOPs, messages (JAX)."""
