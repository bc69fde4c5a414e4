"""Resolves a recipe into the specifications that the other packages take."""
