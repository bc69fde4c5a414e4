"""Export a trained model to SavedModel, LiteRT, ONNX and Keras, and verify the export."""
