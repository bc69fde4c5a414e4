"""Experiment tracking: log the metrics of a run to TensorBoard and MLflow."""
