"""How a world and its controllers are made: one module a stage, `python -m training STAGE`."""
