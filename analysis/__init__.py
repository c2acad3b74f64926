"""What is true of the flow: fates, fixed points and their stability, nullclines, basins, bifurcations, resonance."""
