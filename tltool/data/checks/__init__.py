"""What can ruin a model before training starts, one file a kind of check."""
