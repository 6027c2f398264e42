"""Where the checkout's own files are."""

import pathlib

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
