"""Photos in: the catalog of items, its sources, the audit, the split and the decoder."""
