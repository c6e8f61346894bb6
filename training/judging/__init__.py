"""Fidelity, scores, validation and metrics."""
