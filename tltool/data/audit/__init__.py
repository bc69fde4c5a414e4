"""Checks every file before training, and finds leakage between splits."""
