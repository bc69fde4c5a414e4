"""Features of the frozen layers: extraction, feature cache, views and sampling."""
