"""The images for the parity check, the golden set and the 8-bit calibration of an export."""
