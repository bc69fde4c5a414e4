"""Loads a data set: lists and audits files, finds duplicates, splits; exports a split."""
