"""One run beside theory: simulations, alignment, training."""
