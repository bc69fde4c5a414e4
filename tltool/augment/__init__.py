"""Random changes of training photos, drawn by stateless functions of (seed, epoch, item)."""
