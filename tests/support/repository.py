"""Where the checkout's own files are."""

import pathlib

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
TESTS = REPOSITORY / "tests"
SUPPORT = TESTS / "support"
CLIENTS = REPOSITORY / "recipes" / "clients"
CONFIGURATIONS = REPOSITORY / "recipes" / "configs"
