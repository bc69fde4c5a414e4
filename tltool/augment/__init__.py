"""Random changes of training images, drawn by stateless functions of (seed, epoch, item)."""
