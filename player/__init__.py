"""The human's seat: a player of dreams and real games, its screen, its latent editor and its recorder."""
