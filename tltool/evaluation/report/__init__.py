"""``report.html``: one page that says how good a model is, where it fails, and what to do."""
