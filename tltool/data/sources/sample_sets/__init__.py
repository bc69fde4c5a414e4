"""Data sets of samples: Parquet, WebDataset, TensorFlow Datasets."""
