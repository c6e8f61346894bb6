"""PPO of Stable-Baselines3 in a batch of dreams: `python examples/sb3_ppo.py [STEPS]`."""

import sys

import numpy as np
from stable_baselines3 import PPO

from wm_envs.sb3 import make_vec_env

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000  # about two minutes on 2 cores
envs = make_vec_env("WMDream-v0", num_envs=256, seed=0, actions="discrete", temperature=1.5)
learner = PPO("MlpPolicy", envs, n_steps=32, batch_size=4096, n_epochs=3, gamma=0.98, device="cpu", seed=0)
learner.learn(steps)

# Survival time in new dreams: the first episode of each environment.
envs.seed(1)
observations, lived, alive = envs.reset(), np.zeros(256), np.ones(256, bool)
while alive.any():
    actions, _ = learner.predict(observations, deterministic=True)
    observations, rewards, done, _ = envs.step(actions)
    lived += rewards * alive
    alive &= ~done
print(f"{lived.mean():.0f} ticks on average after {steps} steps")
