"""A vector index of sentences, and the encoder that queries it."""
