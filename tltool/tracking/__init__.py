"""Experiment tracking: logs a run to TensorBoard, MLflow and Weights & Biases."""
