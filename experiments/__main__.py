"""`python -m experiments NAME [--options]`: the tables and studies that share the command line of the stages."""

from __future__ import annotations

from training.config.program import Program, Stage, run_as_script

EXPERIMENTS = Program(
    "experiments",
    about="Tables and studies of worlds.",
    more="The other studies are scripts: `python -m experiments.budgets --help`, for example.",
    stages={
        "transfer": Stage("experiments.transfer", "the paper's table: a controller for each temperature of the dream"),
        "ablate": Stage("experiments.ablate", "what C needs of the world: z, h, a trained M"),
        "compare": Stage("experiments.compare", "PPO and CMA-ES with the same steps of the same dreams"),
        "components": Stage("experiments.components", "which mixture component is active in which event"),
    },
)

if __name__ == "__main__":
    run_as_script(EXPERIMENTS)
