"""Where a catalog can come from, one file a source. None of them opens an image."""
