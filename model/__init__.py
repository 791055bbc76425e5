"""Score how important each tile is, with a small neural network."""
