"""Planning by branching one dream: `python examples/branching.py [STEPS]`.

Before each move, every move is tried in many branches. `state` gives the state of a dream, and `reset` accepts it: all
branches start from the same state and continue with different random numbers.
"""

import sys

import gymnasium as gym
import numpy as np
import torch

import wm_envs  # noqa: F401 (registers the ids)

FUTURES, AHEAD = 64, 12  # branches per move, and steps (of 4 ticks) in each branch
limit = int(sys.argv[1]) if len(sys.argv) > 1 else 525

dream = gym.make("WMDream-v0", actions="discrete", temperature=1.3)
moves = int(dream.action_space.n)
branches = gym.make_vec("WMDream-v0", num_envs=moves * FUTURES, actions="discrete", temperature=1.3)
dream.reset(seed=0)
for step in range(limit):
    state = dream.unwrapped.state.select(torch.zeros(branches.num_envs, dtype=torch.long))
    branches.reset(seed=step, options={"state": state})
    held = np.repeat(np.arange(moves), FUTURES)
    alive = np.ones(len(held), bool)
    for _ in range(AHEAD):
        alive &= ~branches.step(held)[2]
    survived = alive.reshape(moves, FUTURES).mean(axis=1)
    _, _, terminated, truncated, info = dream.step(int(survived.argmax()))
    if terminated or truncated:
        break
print(f"survived {info['ticks']} ticks by planning {4 * AHEAD} ticks ahead")
