"""Comparison of finished runs: reading them, the result, and its report."""
