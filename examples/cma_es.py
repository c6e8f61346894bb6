"""The paper's C with CMA-ES, one generation per batch of dreams: `python examples/cma_es.py [GENERATIONS]`."""

import sys

import cma
import gymnasium as gym
import numpy as np

import wm_envs  # noqa: F401 (registers the ids)

POPULATION, ROLLOUTS = 32, 8
generations = int(sys.argv[1]) if len(sys.argv) > 1 else 20

envs = gym.make_vec("WMDream-v0", num_envs=POPULATION * ROLLOUTS, temperature=1.3)
size = envs.single_observation_space.shape[0]
search = cma.CMAEvolutionStrategy(np.zeros(size + 1), 0.1, {"popsize": POPULATION, "seed": 1, "verbose": -9})
for generation in range(generations):
    candidates = search.ask()
    weights = np.repeat(np.array(candidates, np.float32), ROLLOUTS, axis=0)  # (num_envs, P)
    observations, _ = envs.reset(seed=generation)
    lived, alive = np.zeros(len(weights)), np.ones(len(weights), bool)
    while alive.any():
        actions = np.tanh((observations * weights[:, :-1]).sum(axis=1, keepdims=True) + weights[:, -1:])
        observations, rewards, terminated, truncated, _ = envs.step(actions)
        lived += rewards * alive
        alive &= ~(terminated | truncated)
    fitness = lived.reshape(POPULATION, ROLLOUTS).mean(axis=1)
    search.tell(candidates, list(-fitness))
    print(f"generation {generation + 1}: mean {fitness.mean():.0f} ticks, best {fitness.max():.0f}")
