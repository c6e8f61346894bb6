"""Studies and tables; docs/experiments/ has their results. Not part of the package."""
