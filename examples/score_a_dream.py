"""Score any dream of Take Cover against the real game: replace `dream` by a function that plays your model.

python examples/score_a_dream.py            # the shipped dream, through gym.make_vec alone
"""

from __future__ import annotations

import argparse

import gymnasium as gym
import numpy as np

from training.acting.policies import OpenLoopPolicy
from training.judging.battery import open_loop_battery
from training.judging.fidelity import compare
from training.judging.returns import StoredReturns
from wm_envs import get_task

TASK = get_task("takecover")
FRAME_SKIP = 4  # ticks in a step of the model
FIRST_SEED = 100_000  # of the stored real episodes


def dream(policy: OpenLoopPolicy, episodes: int, temperature: float, world: str) -> np.ndarray:
    """Ticks survived by `policy` in `episodes` dreams."""
    envs = gym.make_vec("WMDream-v0", num_envs=episodes, temperature=temperature, world=world)
    envs.reset(seed=7)
    plans = np.stack([policy.plan(TASK, seed, FRAME_SKIP) for seed in range(episodes)])  # (episodes, steps, A)
    returns, running = np.zeros(episodes), np.ones(episodes, bool)
    for step in range(plans.shape[1]):
        _, rewards, terminated, truncated, _ = envs.step(plans[:, step])
        returns += rewards * running
        running &= ~(terminated | truncated)
        if not running.any():
            break
    envs.close()
    return np.minimum(returns, TASK.timing.tick_limit)


def main() -> None:
    """Print the score of every policy, and the two figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("episodes", nargs="?", type=int, default=128, help="dreams of each policy")
    parser.add_argument("--world", default="takecover")
    parser.add_argument("--temperature", type=float, default=1.0)
    options = parser.parse_args()
    stored = StoredReturns(TASK, FRAME_SKIP, FIRST_SEED)
    report = compare(
        TASK, open_loop_battery(TASK),
        real=lambda policy: stored.get(policy, 200),
        dream=lambda policy: dream(policy, options.episodes, options.temperature, options.world),
    )  # fmt: skip
    for row in report.policies:
        print(f"{row.policy:>20}  real {row.real.mean:5.0f} ticks, dream {row.dream.mean:5.0f}")
    for name, part in report.parts.items():
        print(f"{name}: Spearman {part.spearman:.3f}, log ratio {part.log_ratio:.3f}")


if __name__ == "__main__":
    main()
