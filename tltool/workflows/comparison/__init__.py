"""What `compare` compares, and how its result is written."""
