"""Worlds as folders: saved, found, checked and loaded, here and on a hub."""
