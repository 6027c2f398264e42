"""Prepared records and how they are read. Importing this package does not import TensorFlow."""
