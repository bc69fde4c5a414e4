"""A server for exported models: TensorFlow Serving's REST API, and a page for people."""
