"""Batch normalisation in linear BYOL: spectra, stability, and what each variant changes."""
