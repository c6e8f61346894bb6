"""Options, run folders, checkpoints, worker processes and progress."""
