"""Data sets of images: sources, decoding, audit, duplicates, splits and checks."""

import warnings

# Pillow warns about damaged metadata such as EXIF, which does not affect the pixels.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
