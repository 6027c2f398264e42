"""The version, in a file of its own: it can be read without importing the rest."""

__version__ = "0.1.0"
