"""Planning by branching one dream: `python examples/branching.py [STEPS]`.

Before each move, all of them are tried in many futures. A dream's state can be taken out and put back: every branch
begins at the same moment, and dreams on by itself.
"""

import sys

import gymnasium as gym
import numpy as np
import torch

import wm_envs  # noqa: F401 (registers the ids)

FUTURES, AHEAD = 64, 12  # futures of each move, and steps (of 4 tics) that each looks ahead
limit = int(sys.argv[1]) if len(sys.argv) > 1 else 525

dream = gym.make("WMDream-v0", actions="discrete", temperature=1.3)
moves = int(dream.action_space.n)
branches = gym.make_vec("WMDream-v0", num_envs=moves * FUTURES, actions="discrete", temperature=1.3)
dream.reset(seed=0)
for step in range(limit):
    here = dream.unwrapped.state.select(torch.zeros(branches.num_envs, dtype=torch.long))
    branches.reset(seed=step, options={"state": here})
    held = np.repeat(np.arange(moves), FUTURES)
    alive = np.ones(len(held), bool)
    for _ in range(AHEAD):
        alive &= ~branches.step(held)[2]
    survived = alive.reshape(moves, FUTURES).mean(axis=1)
    _, _, terminated, truncated, info = dream.step(int(survived.argmax()))
    if terminated or truncated:
        break
print(f"{info['ticks']} tics by looking {4 * AHEAD} tics ahead")
