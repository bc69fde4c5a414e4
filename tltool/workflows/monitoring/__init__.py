"""The images, predictions and labels of ``tltool monitor``."""
