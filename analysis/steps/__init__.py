"""Real steps: fates, critical steps and period doubling of gradient descent, and what batches add."""
