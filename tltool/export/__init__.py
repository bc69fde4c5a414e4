"""From a trained model to a SavedModel that answers to image bytes, and the proof that it does."""
