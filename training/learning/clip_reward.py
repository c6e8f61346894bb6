"""A cap on the rewards that PPO learns from."""

from __future__ import annotations

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn


class ClipReward(VecEnvWrapper):
    """Rewards (B,) of at most `reward_clip` per step; infinity is no limit.

    A road in a dream has no end, so fast driving earns more. The game's road is a loop whose every tile has the same
    reward, so there it pays to miss no tile.
    """

    def __init__(self, env: VecEnv, reward_clip: float) -> None:
        super().__init__(env)
        self.reward_clip = reward_clip

    def reset(self) -> VecEnvObs:
        """Reset the wrapped environments."""
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """Step the wrapped environments and clip the rewards."""
        observations, rewards, done, infos = self.venv.step_wait()
        return observations, np.minimum(rewards, self.reward_clip), done, infos
