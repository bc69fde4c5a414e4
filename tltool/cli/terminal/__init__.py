"""What all commands share at the terminal: console, progress, errors, options."""
