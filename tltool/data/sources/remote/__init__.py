"""Images in object stores, which are copied to files in the cache before they are used."""
