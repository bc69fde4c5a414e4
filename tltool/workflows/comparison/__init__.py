"""Compares finished runs: reads them, computes the result and writes its report."""
