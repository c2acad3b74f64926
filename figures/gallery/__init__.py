"""The gallery: figures that compute what they show, by name."""
