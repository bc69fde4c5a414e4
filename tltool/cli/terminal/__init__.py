"""Terminal input and output that all commands share: console, progress, errors, options."""
