"""``report.html``: metrics, errors and recommended next steps of a model, in one HTML file."""
