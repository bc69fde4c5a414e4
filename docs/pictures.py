"""Draw the pictures of docs/methods/.

Usage: ``python docs/pictures.py [networks] [augmentation] [training]``.

They are computed by tltool: masks by its layers, images by its augmentation, curves by its
schedules and losses. Without a name all are drawn, in about a minute; every run draws the same.
"""

from __future__ import annotations

import sys

from drawn.augmentation import draw_augmentation
from drawn.networks import draw_networks
from drawn.training import draw_training

GROUPS = {"networks": draw_networks, "augmentation": draw_augmentation, "training": draw_training}

if __name__ == "__main__":
    for group in sys.argv[1:] or GROUPS:
        GROUPS[group]()
