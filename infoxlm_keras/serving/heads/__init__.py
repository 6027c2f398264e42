"""The heads of SavedModels: one file a head, and the registry that names them."""
