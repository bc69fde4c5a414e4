"""The attacks of `benchmarks.attacks`: one module per kind, each with a function ``attacks``."""
