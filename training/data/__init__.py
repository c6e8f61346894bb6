"""What V and M learn from."""
