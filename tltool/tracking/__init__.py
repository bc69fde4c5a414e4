"""Where a run's figures go beside its own folder's files: TensorBoard and MLflow."""
