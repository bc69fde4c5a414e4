"""The folder of a run: its names, its manifest."""
