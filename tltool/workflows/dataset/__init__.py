"""A source of images, listed, audited and split."""
