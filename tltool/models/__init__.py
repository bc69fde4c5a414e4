"""Backbones with their preprocessing, heads, and the split into trunk and tail."""
