"""Fates: which starts learn and which collapse, predicted and followed."""
