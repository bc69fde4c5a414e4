"""The plots of the report, as image files."""
