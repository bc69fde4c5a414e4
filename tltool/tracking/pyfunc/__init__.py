"""The module that MLflow copies into a logged model."""
