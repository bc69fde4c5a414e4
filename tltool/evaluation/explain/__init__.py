"""Saliency maps: where in an image the evidence lies."""
