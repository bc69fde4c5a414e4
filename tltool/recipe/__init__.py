"""Recipes: YAML files with all hyperparameters of a run."""
