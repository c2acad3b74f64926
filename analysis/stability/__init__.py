"""Linear stability of fixed points: the Jacobian, its blocks, and what decides its signs."""
