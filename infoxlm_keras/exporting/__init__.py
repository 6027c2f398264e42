"""Writes the formats of Hugging Face, sentence-transformers and KerasHub."""
