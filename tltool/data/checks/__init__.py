"""Checks of a data set before training; each file is one kind of check."""
