"""Contrastive learners next to BYOL."""
