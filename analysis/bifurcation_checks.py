"""Checks."""
def check(found, family): pass
