"""The pictures of docs/methods.md, drawn with tltool's own layers and functions."""
