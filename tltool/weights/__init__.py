"""Pretrained weights: published sources, download, the local store and file formats."""
