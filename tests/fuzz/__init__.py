"""Fuzzing: good inputs of every reader, damaged at random by a seed; see the section in CONTRIBUTING.md."""
