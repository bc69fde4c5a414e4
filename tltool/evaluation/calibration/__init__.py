"""Calibrated probabilities: temperature scaling and prediction sets."""
