"""What a SavedModel answers with: one file a head."""
