"""Pages: each composes panels into one Figure; nothing of the theory is computed here."""
