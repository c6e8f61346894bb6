"""Policies, the one loop in which they act, and planning."""
