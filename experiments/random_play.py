"""What random play sees of an environment: `python -m experiments.random_play ALE/Freeway-v5 --tick-limit 1000`.

"even" draws all actions equally often and holds them, as the shipped games do; "habits" is the play of any environment.
A reward counts if it is better than the most common one of the play. A lone action lasts for at most 2 ticks, between
two stretches of at least 8 ticks of one other action.
"""

from __future__ import annotations

import dataclasses
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.scripts import run_script, script_parser
from training.judging.scoring import VALIDATION_SEEDS
from wm_envs.games.base import Array, Task
from wm_envs.games.gym_env.describe import describe
from wm_envs.games.gym_env.description import parse
from wm_envs.games.gym_env.game import make_env
from wm_envs.games.random_play import held_actions
from wm_envs.games.registry import get_task

SHORT, QUIET = 2, 8  # ticks


class Seen(NamedTuple):
    """Counts in some frames of play."""

    episodes: int
    rewards: int
    lone: int


def lone_actions(actions: Array) -> int:
    """The number of lone actions in the actions (T, A) of an episode."""
    cuts = np.flatnonzero((actions[1:] != actions[:-1]).any(1)) + 1
    starts = np.concatenate([[0], cuts])
    lengths, kept = np.diff([*starts, len(actions)]), actions[starts]
    back = (kept[2:] == kept[:-2]).all(1)
    alone = (lengths[1:-1] <= SHORT) & (lengths[:-2] >= QUIET) & (lengths[2:] >= QUIET)
    return int((alone & back).sum())


def play(task: Task, frames: int, seed: int) -> Seen:
    """Random play of at least so many frames, which are not drawn."""
    description = parse(task.name)
    env = make_env(description.id, description.kwargs, "observation")
    rewards: list[float] = []
    episodes = lone = 0
    while len(rewards) < frames:
        rng, played = np.random.default_rng((seed, episodes)), []
        env.reset(seed=seed + episodes)
        for action in islice(held_actions(task, rng), task.timing.tick_limit):
            played.append(task.actions.to_game(action))
            chosen: Any = description.actions.decode(played[-1])
            _, reward, terminated, truncated, _ = env.step(chosen if chosen.ndim else chosen.item())
            rewards.append(float(reward))
            if terminated or truncated:
                break
        episodes, lone = episodes + 1, lone + lone_actions(np.array(played))
    env.close()
    return Seen(episodes, _better(np.array(rewards)), lone)


def _better(rewards: NDArray[np.float64]) -> int:
    values, counts = np.unique(rewards, return_counts=True)
    return int((rewards > values[counts.argmax()]).sum())


def main() -> None:
    """Print a table."""
    parser = script_parser("random_play", __doc__)
    parser.add_argument("env", help="an environment, as for `run --env`")
    parser.add_argument("--tick-limit", type=int, default=0, help="steps of an episode (default: as `run`)")
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5, help="how often so many frames are played")
    given = parser.parse_args()
    task = get_task(describe(given.env, tick_limit=given.tick_limit).name)
    even = dataclasses.replace(task, random_play=dataclasses.replace(task.random_play, concentrations=()))
    for name, chosen in {"even": even, "habits": task}.items():
        seeds = [VALIDATION_SEEDS + 10_000 * number for number in range(given.repeats)]
        counts = np.array([play(chosen, given.frames, seed) for seed in seeds])
        shown = ", ".join(
            f"{kind} {column.mean():.0f} ({column.min()} to {column.max()})"
            for kind, column in zip(Seen._fields, counts.T, strict=True)
        )
        print(f"{name:>7}: {shown}", flush=True)


if __name__ == "__main__":
    run_script(main)
