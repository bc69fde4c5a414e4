"""Sources of images: folders, archives, tables, TensorFlow Datasets. None opens an image."""
