"""Invariant planes of one mode: nullclines, separatrices, portraits."""
