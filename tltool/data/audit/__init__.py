"""The audit: checks every file before training, and finds data leakage between splits."""
