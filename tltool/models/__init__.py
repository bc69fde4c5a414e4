"""Backbones with their own preprocessing, heads, and the cut into trunk and tail."""
