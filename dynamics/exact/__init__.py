"""Closed forms: solutions of the flows that have them, and the fixed points of one mode."""
