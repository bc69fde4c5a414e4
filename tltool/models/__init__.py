"""Backbones with their preprocessing, heads, and the division into trunk and tail."""
