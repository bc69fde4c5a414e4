"""Tables of paths and of pixels, and tables beside images."""
