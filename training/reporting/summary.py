"""The result of a run in words, and the commands that go on from there, for the terminal and the report."""

from __future__ import annotations

from pathlib import Path

from training.judging.scoring import Evaluation
from wm_envs.games.registry import get_task
from wm_envs.worlds.bundle import read_config


def score_sentence(result: Evaluation) -> str:
    """A score with its 95% interval, in one sentence."""
    low, high = result.bounds
    return (
        f"The controller `{result.controller}` scores {result} in the real game "
        f"(95% interval {low:.0f} to {high:.0f}, {result.episodes} test episodes)."
    )


def commands(world: Path) -> dict[str, str]:
    """What to do with a world -> the command."""
    task = get_task(read_config(world)["world"]["task"])
    player = "python play.py" if Path("play.py").exists() else "wm-play"
    return {
        "play it": f"{player} --world {world}",
        "evaluate it": f"python -m training evaluate --world {world}",
        "compare it with the game": f"python -m training fidelity --world {world}",
        "open it in Python": f'gym.make("{task.dream_id}", world="{world}")',
    }
