"""The interactive player of dreams and real games: views, screen, latent editor and recorder."""
