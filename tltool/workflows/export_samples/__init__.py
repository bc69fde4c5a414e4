"""Selects the images for the parity check, the golden set and 8-bit calibration of an export."""
