"""Saliency maps: the parts of an image that are evidence for a class."""
