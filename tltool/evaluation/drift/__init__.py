"""Drift: whether new images differ from the validation images, and the accuracy without labels."""
