"""What of the world a driver needs: the same learner, budget and seeds, given less and less to see.

All learn in the real game, where none can profit from what a dream gets wrong: on [z, h] and on z alone, with a
hidden layer and linear, and on z with the h of an M that never learnt. Random play stands beside them. (Ha and
Schmidhuber compare z alone, with and without a hidden layer, and the full model in their table of CarRacing scores.)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training import evaluate, ppo
from training.options import count, game_settings, stage_option
from training.transfer import as_markdown, untrained_memory
from wm_envs.files import alone, write_json, write_text
from wm_envs.spaces import how_to_open
from wm_envs.worlds import load_world, save_world

SEEN = {  # row of the table -> what C observes, whether it has hidden layers, whether M has learnt
    "z and h, hidden layer": ("zh", True, True),
    "z and h, linear": ("zh", False, True),
    "z, hidden layer": ("z", True, True),
    "z, linear": ("z", False, True),
    "z and the h of an untrained M, hidden layer": ("zh", True, False),
    "z and the h of an untrained M, linear": ("zh", False, False),
}


@dataclass
class AblateOptions:
    """Learn in the real game on each kind of features of RUN/world; all are played on the test seeds."""

    run: Path = stage_option("runs/carracing", "run folder with a world")
    steps: int = stage_option(400_000, "steps of PPO in the real game, each")
    units: tuple[int, ...] = stage_option((64,), "tanh units of C's hidden layers, where it has some")
    validate_every: int = stage_option(24, "updates between validations in the real game")
    validate_episodes: int = stage_option(32, "real episodes in a validation")
    episodes: int = stage_option(100, "real episodes of every entry, on test seeds")
    drawing: str = stage_option("", "how the game draws itself at last (default: as scores are measured)")
    workers: int = stage_option(0, "processes (0: one a core)")
    ray: str = stage_option("", "do it on a Ray cluster instead: its address, auto, or local to start one here")
    seed: int = stage_option(0, "of the weights and of the games")


def main(options: AblateOptions) -> dict[str, Any]:
    """Rows of the table; also written to RUN/ablations.json and RUN/ablations.md."""
    for name in ("steps", "validate_every", "validate_episodes", "episodes"):
        count(name, getattr(options, name))
    for name in ("workers", "seed"):
        count(name, getattr(options, name), 0)
    for width in options.units:
        count("units", width)
    run = Path(options.run)
    with alone(run / "ablations.json"):
        world = load_world(run / "world")
        how_to_open(world.task, options.drawing or None, game_settings(()))
        blank = run / "untrained"
        save_world(blank / "world", untrained_memory(world, options.seed), {"memory": "untrained, for an ablation"})
        rows = []
        for row, (observation, hidden, trained) in SEEN.items():
            where = run if trained else blank
            name = f"ablation-{observation}-{'hidden' if hidden else 'linear'}"
            ppo.main(ppo.PpoOptions(
                run=where, name=name, steps=options.steps, observation=observation,
                units=tuple(options.units) if hidden else (), validate_every=options.validate_every,
                validate_episodes=options.validate_episodes, workers=options.workers, ray=options.ray,
                seed=options.seed, **ppo.IN_THE_GAME,
            ))  # fmt: skip
            rows.append({"policy": row, "real": _played(options, where / "world", name)})
            write_json(run / "ablations.json", {"rows": rows})
        rows.append({"policy": "random", "real": _played(options, run / "world", "random")})
        write_json(run / "ablations.json", {"rows": rows})
    write_text(run / "ablations.md", as_markdown(rows))
    print(as_markdown(rows))
    return {"rows": rows}


def _played(options: AblateOptions, world: Path, controller: str) -> dict[str, Any]:
    """A controller's scores on the test seeds."""
    return evaluate.main(evaluate.EvaluateOptions(
        world=str(world), controller=controller, episodes=options.episodes, drawing=options.drawing,
        workers=options.workers, ray=options.ray,
    ))  # fmt: skip
