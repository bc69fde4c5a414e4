"""The command line: parses arguments and prints results; it has no other logic."""
