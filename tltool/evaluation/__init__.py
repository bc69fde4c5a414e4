"""Evaluation: metrics with confidence intervals, calibration, saliency maps, plots and reports."""
