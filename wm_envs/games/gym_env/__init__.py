"""Any Gymnasium environment that can be drawn, as a game."""

PREFIX = "gym:"
