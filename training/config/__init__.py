"""Typed configurations of stages and runs, the command line that fills them, and their records in a run folder."""
