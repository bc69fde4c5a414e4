"""The run folder: file names, manifest, checkpoints, lock and log."""
