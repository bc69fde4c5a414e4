"""Metrics, their confidence intervals, and paired tests."""
