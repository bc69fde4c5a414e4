"""Draw the pictures of docs/methods.md: ``python docs/pictures.py [networks] [images] [training]``.

They show what tltool does: masks come from its layers, images from its augmentation, curves from
its schedules and losses. Without a name all are drawn, in about a minute; each run draws the same.
"""

from __future__ import annotations

import sys

from drawn.networks import draw_networks
from drawn.photos import draw_photos
from drawn.training import draw_training

GROUPS = {"networks": draw_networks, "photos": draw_photos, "training": draw_training}

if __name__ == "__main__":
    for group in sys.argv[1:] or GROUPS:
        GROUPS[group]()
