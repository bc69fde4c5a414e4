"""A model loaded for prediction, its inputs and its results."""
