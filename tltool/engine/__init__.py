"""Engines that run independent pieces of work: in this process, or in workers of a Ray cluster."""
