"""Loads a data set: list, audit, find duplicates, split; and exports a split."""
