"""What moves: the flow of linear BYOL, its reductions, invariants and exact solutions, and its integration."""
