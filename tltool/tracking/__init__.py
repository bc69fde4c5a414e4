"""Experiment tracking: logs the metrics of a run to TensorBoard and MLflow."""
