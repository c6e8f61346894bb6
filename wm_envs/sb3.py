"""The adapter to Stable-Baselines3, under its public name."""

from wm_envs.envs.sb3 import LatentVecEnv, Policy, load_policy, make_vec_env

__all__ = ["LatentVecEnv", "Policy", "load_policy", "make_vec_env"]
