"""V, M, C, and the bundle that holds them."""
