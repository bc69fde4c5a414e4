"""Images in: the catalog of items, its sources, the audit, the split and the decoder."""

import warnings

# Pillow remarks on damage beside the pixels, such as in EXIF: the image is whole without it.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
