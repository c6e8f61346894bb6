"""`python -m training STAGE [--options]`, or `wm-train STAGE`: train a world model and its controllers."""

from __future__ import annotations

import sys
from typing import NoReturn

from training.config.program import Program, Stage, run_as_script

TRAINING = Program(
    "training",
    script="wm-train",
    about="Train a world model of a game, and controllers in its dream.",
    more="`run` does all stages in order. The same command resumes a stage that was stopped.",
    stages={  # in the order of --help
        "run": Stage("training.pipeline.run", "all stages in order, from nothing to an evaluated controller"),
        "collect": Stage("training.stages.collect", "record random play, or the play of trained controllers"),
        "vision": Stage("training.stages.vision", "train V on the recorded frames"),
        "memory": Stage("training.stages.memory", "train M on V's latents and write the world"),
        "ppo": Stage("training.stages.ppo", "train C with PPO, in the dream or in the real game"),
        "evolve": Stage("training.stages.evolve", "train C with CMA-ES, in the dream or in the real game"),
        "fidelity": Stage("training.stages.fidelity", "compare the dream with the real game", extra=False),
        "evaluate": Stage("training.stages.evaluate", "play a controller in the real game, on test seeds", extra=False),
        "plan": Stage("training.stages.plan", "play the real game by searching in the dream"),
        "report": Stage("training.stages.report", "write the report of a run"),
        "doctor": Stage("training.stages.doctor", "check the installation, a world or the files of a run", extra=False),
        "publish": Stage("training.stages.publish", "make a bundle to ship", extra=False),
        "export": Stage("training.stages.export", "write a world for other programs", extra=False),
    },
)
STAGES = TRAINING.stages


def main(words: list[str] | None = None) -> int:
    """Run one stage; returns 0 on success, 2 for an error that the user can fix, 130 for Ctrl-C, 143 for SIGTERM."""
    return TRAINING.main(sys.argv[1:] if words is None else words)


def cli() -> NoReturn:
    """The command line."""
    run_as_script(TRAINING)


if __name__ == "__main__":
    cli()
