"""Checks before anything expensive: options, recipe, network, output paths."""
