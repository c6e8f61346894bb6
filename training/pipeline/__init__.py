"""The whole run: its configuration, its recipes, its plan and its journal."""
