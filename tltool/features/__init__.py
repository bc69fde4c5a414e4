"""The frozen part of the network, computed once and kept."""
