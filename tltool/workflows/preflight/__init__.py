"""Checks before the start of a run: options, recipe, network connection, output paths."""
