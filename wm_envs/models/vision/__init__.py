"""Kinds of V."""
