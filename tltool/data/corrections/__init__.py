"""Corrections: decisions of people about labels, in a file beside images that stay unchanged."""
