"""Every file decoded once before training, and leakage between parts."""
