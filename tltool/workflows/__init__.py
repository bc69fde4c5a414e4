"""The public Python API: one module per command, with the steps of the command in order."""

from tltool.runs.keras_setup import claim_keras

claim_keras()  # before any module here imports Keras
