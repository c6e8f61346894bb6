"""The adapter to Stable-Baselines3, under its public name."""

from wm_envs.envs.sb3 import LatentVecEnv, make_vec_env

__all__ = ["LatentVecEnv", "make_vec_env"]
