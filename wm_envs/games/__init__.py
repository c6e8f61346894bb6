"""The real games, one folder each."""
