"""Class folders, split folders and what lies beside them."""
