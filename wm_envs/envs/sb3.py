"""A native adapter to Stable-Baselines3: thousands of lanes in one batch of M, without a process each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from wm_envs.envs.vector import LatentVectorEnv
from wm_envs.errors import InvalidOption

Indices = int | Iterable[int] | None


def make_vec_env(
    env_id: str = "WMDream-v0", num_envs: int = 64, seed: int | None = None, **kwargs: Any
) -> LatentVecEnv:
    """One of this package's environments as a Stable-Baselines3 `VecEnv` of `num_envs` lanes.

    `kwargs` are those of `gym.make_vec`: world, temperature, observation, actions and so on. `seed`
    seeds the first reset. Raises what `gym.make_vec` does.
    """
    env = gym.make_vec(env_id, num_envs=num_envs, autoreset_mode=AutoresetMode.DISABLED, **kwargs)
    adapter = LatentVecEnv(env)  # type: ignore[arg-type]
    adapter.seed(seed)
    return adapter


class LatentVecEnv(VecEnv):
    """A `LatentVectorEnv` as Stable-Baselines3 wants it.

    A lane that is over is begun again within the same step; its info then holds "terminal_observation",
    and "TimeLimit.truncated" tells a limit from an end. All lanes are one environment: attributes and
    methods are the whole environment's, whichever lanes are asked for.
    """

    def __init__(self, env: LatentVectorEnv) -> None:
        if env.autoreset_mode != AutoresetMode.DISABLED:
            raise InvalidOption(
                "autoreset_mode", env.autoreset_mode, "AutoresetMode.DISABLED: lanes are reset here",
                "use make_vec_env, or make the env with it",
            )  # fmt: skip
        self.env = env
        self._actions: NDArray[Any] | None = None
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> VecEnvObs:
        """Begin episodes on all lanes, with the seed that `seed` gave last."""
        seed, options = self._seeds[0], self._options[0] or None
        observations, infos = self.env.reset(seed=seed, options=options)
        self.reset_infos = self._lanes(infos)
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions (B, A), or (B,) of discrete ones, for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """One step of all lanes: observations, rewards (B,) float32, dones (B,) and an info a lane."""
        assert self._actions is not None, "step_async comes first"
        observations, rewards, terminated, truncated, info = self.env.step(self._actions)
        infos = self._lanes(info | {"TimeLimit.truncated": truncated & ~terminated})
        done = terminated | truncated
        if done.any():
            for lane in np.flatnonzero(done):
                infos[lane]["terminal_observation"] = observations[lane]
            begun, _ = self.env.reset(options={"reset_mask": done})
            observations = np.where(done.reshape(-1, *[1] * (observations.ndim - 1)), begun, observations)
        self.step_infos = infos
        return observations, rewards.astype(np.float32), done, infos

    def _lanes(self, info: dict[str, Any]) -> list[dict[str, Any]]:
        """Gymnasium's info of arrays as one dictionary a lane."""
        named = {name: values.tolist() for name, values in info.items() if not name.startswith("_")}
        if not named:
            return [{} for _ in range(self.num_envs)]
        return [dict(zip(named, values, strict=True)) for values in zip(*named.values(), strict=True)]

    def seed(self, seed: int | None = None) -> list[int | None]:
        """Seed the next reset: one number for all lanes, which share a generator."""
        self._seeds = [seed] * self.num_envs
        return self._seeds

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """The attribute of the environment, once for each lane asked for."""
        return [getattr(self.env, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Set an attribute, such as "temperature", of all lanes."""
        setattr(self.env, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Indices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of the environment once; its result for each lane asked for."""
        result = getattr(self.env, method_name)(*method_args, **method_kwargs)
        return [result] * len(list(self._get_indices(indices)))

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Indices = None
    ) -> list[bool]:
        """No lane is wrapped."""
        return [False] * len(list(self._get_indices(indices)))

    def get_images(self) -> list[NDArray[np.uint8] | None]:
        """One frame a lane, when made with render_mode="rgb_array"."""
        return list(self.env.render() or [None] * self.num_envs)
