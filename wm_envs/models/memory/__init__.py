"""Kinds of M."""
