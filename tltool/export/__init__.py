"""Exports a trained model to SavedModel and other formats, and verifies the export."""
