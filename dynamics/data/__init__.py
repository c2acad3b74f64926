"""Data and what linear BYOL sees of it: sources, augmentations, second moments."""
