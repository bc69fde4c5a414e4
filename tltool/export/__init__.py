"""Exports a trained model to SavedModel, LiteRT, ONNX and Keras, and verifies the export."""
