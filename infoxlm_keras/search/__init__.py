"""A vector index of sentences, and the encoder that embeds sentences and queries."""
