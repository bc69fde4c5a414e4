"""The pictures of docs/methods/, drawn with tltool's own layers and functions."""
