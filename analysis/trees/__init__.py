"""Latent trees: moments, ceilings of what can be read from the leaves, and what networks on them learn."""
