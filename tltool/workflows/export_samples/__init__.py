"""Images that an export is checked and calibrated with."""
