"""Sheets and legends: how panels are put on a page."""
