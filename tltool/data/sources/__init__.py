"""Data sources: folders, archives, tables, TensorFlow Datasets. They do not open images."""
