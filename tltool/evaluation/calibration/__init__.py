"""Calibration on the validation set: temperature scaling, prediction sets, the OOD threshold."""
