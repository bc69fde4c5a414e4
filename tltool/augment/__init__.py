"""Data augmentation of images and features, as stateless functions of (seed, epoch, image)."""
