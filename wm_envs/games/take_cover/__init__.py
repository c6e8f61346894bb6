"""ViZDoom's Take Cover."""
