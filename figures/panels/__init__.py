"""Panels: each draws given numbers on one given Axes and returns it; no setting is touched."""
