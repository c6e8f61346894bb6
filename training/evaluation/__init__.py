"""Policies, episodes and scores."""
