"""The command line: it parses and prints, and holds no logic."""
