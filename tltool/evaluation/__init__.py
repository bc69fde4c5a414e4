"""How good is it: metrics with intervals, plots and tables of predictions."""
