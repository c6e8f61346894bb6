"""The adapter to Stable-Baselines3: thousands of environments in one batch of M, without a process each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecMonitor
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from wm_envs.envs.spaces import action_kind
from wm_envs.envs.vector import LatentVectorEnv
from wm_envs.errors import InvalidOption
from wm_envs.games.base import Actions, Info, Options
from wm_envs.games.registry import get_task
from wm_envs.models.controller import Controller
from wm_envs.worlds.bundle import load_controller, read_config, resolve

__all__ = ["LatentVecEnv", "Policy", "load_policy", "make_vec_env"]

Indices = int | Iterable[int] | None


def make_vec_env(
    env_id: str = "WMDream-v0", n_envs: int | None = None, seed: int | None = None,
    env_kwargs: Mapping[str, Any] | None = None, *, num_envs: int | None = None, **kwargs: Any,
) -> VecMonitor:  # fmt: skip
    """One of this package's environments as a Stable-Baselines3 `VecEnv` of `n_envs` environments (default: 64).

    `env_kwargs` and all other keywords are those of `gym.make_vec`: world, temperature, observation, actions and so on.
    `num_envs` is another name of `n_envs`. `seed` seeds the first reset. The info of an episode's last step holds
    "episode", its reward and length, as with Stable-Baselines3's own `make_vec_env`. Raises what `gym.make_vec` does.
    """
    if n_envs is not None and num_envs is not None:
        raise InvalidOption("num_envs", num_envs, f"nothing beside n_envs={n_envs}", "omit one of them")
    count = next((given for given in (n_envs, num_envs) if given is not None), 64)
    given = {**(env_kwargs or {}), **kwargs}
    env = gym.make_vec(env_id, num_envs=count, autoreset_mode=AutoresetMode.DISABLED, **given)
    adapter = LatentVecEnv(env)  # type: ignore[arg-type]
    adapter.seed(seed)
    return VecMonitor(adapter)


class Policy:
    """A controller with the `predict` of a Stable-Baselines3 model; see `load_policy`."""

    def __init__(self, controller: Controller, actions: Actions, kind: str) -> None:
        self.controller, self._actions, self._kind = controller, actions, kind

    def predict(
        self, observation: NDArray[Any], state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[Any] | None = None, deterministic: bool = True,
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:  # fmt: skip
        """Actions for an observation (F,) or observations (B, F), and `state` as it was given.

        A controller is deterministic and keeps no state, so the other arguments change nothing.
        """
        with torch.no_grad():
            actions = self.controller(torch.as_tensor(observation, dtype=torch.float32)).numpy()
        return self._actions.nearest(self._kind, actions), state


def load_policy(world: str | Path = "takecover", name: str = "", actions: str | None = None) -> Policy:
    """A controller of a world, its first one by default, as a policy with `predict`.

    `actions` is that of the environment it acts in (default: the game's): "continuous", "own", or "discrete" or "fine"
    if it is one of the controllers that choose from these. Raises `UnknownName`, `BrokenWorld` or `InvalidOption`.
    """
    controller = load_controller(world, name)
    task = get_task(read_config(resolve(world))["world"]["task"])
    kind = action_kind(task, actions)
    if kind in ("discrete", "fine"):
        chosen = torch.tensor(controller.config.choices).reshape(-1, controller.config.action).tolist()
        allowed = torch.tensor(task.actions.choices(kind)).tolist()
        if not chosen or not all(choice in allowed for choice in chosen):
            expected = f"the actions of the controller {name!r}"
            raise InvalidOption("actions", actions, expected, 'pass actions="continuous", which fits all')
    return Policy(controller, task.actions, kind)


class LatentVecEnv(VecEnv):
    """A `LatentVectorEnv` as Stable-Baselines3 wants it.

    An environment that is over is reset within the same step; its info then holds "terminal_observation",
    and "TimeLimit.truncated" tells a limit from a termination. All
    environments are one batch: attributes and methods are the batch's, whichever indices are asked for.
    """

    def __init__(self, env: LatentVectorEnv) -> None:
        if env.autoreset_mode != AutoresetMode.DISABLED:
            raise InvalidOption(
                "autoreset_mode", env.autoreset_mode, "AutoresetMode.DISABLED: environments are reset here",
                "use make_vec_env, or make the env with it",
            )  # fmt: skip
        self.env = env
        self._actions: NDArray[Any] | None = None
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> VecEnvObs:
        """Begin episodes everywhere, with the seed that `seed` gave last."""
        seed, options = self._seeds[0], self._options[0] or None
        observations, infos = self.env.reset(seed=seed, options=options)
        self.reset_infos = self._per_env(infos)
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions (B, A), or (B,) of discrete ones, for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """One step of all environments: observations, rewards (B,) float32, dones (B,) and an info each."""
        assert self._actions is not None, "step_async comes first"
        observations, rewards, terminated, truncated, info = self.env.step(self._actions)
        infos = self._per_env(info | {"TimeLimit.truncated": truncated & ~terminated})
        done = terminated | truncated
        if done.any():
            for index in np.flatnonzero(done):
                infos[index]["terminal_observation"] = observations[index]
            begun, _ = self.env.reset(options={"reset_mask": done} | self._start_options(done))
            observations = np.where(done.reshape(-1, *[1] * (observations.ndim - 1)), begun, observations)
        self.step_infos = infos
        return observations, rewards.astype(np.float32), done, infos

    def _start_options(self, done: NDArray[np.bool_]) -> Options:
        """Further options of the reset of the environments in `done` (B,)."""
        return {}

    def _per_env(self, info: Info) -> list[Info]:
        """Gymnasium's info of arrays as one dictionary per environment."""
        named = {name: values.tolist() for name, values in info.items() if not name.startswith("_")}
        if not named:
            return [{} for _ in range(self.num_envs)]
        return [dict(zip(named, values, strict=True)) for values in zip(*named.values(), strict=True)]

    def seed(self, seed: int | None = None) -> list[int | None]:
        """Seed the next reset: one number for all environments, which share a generator."""
        self._seeds = [seed] * self.num_envs
        return self._seeds

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """The attribute of the environment, once for each index asked for."""
        return [getattr(self.env, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Set an attribute, such as "temperature", of all environments."""
        setattr(self.env, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Indices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of the environment once; its result for each index asked for."""
        result = getattr(self.env, method_name)(*method_args, **method_kwargs)
        return [result] * len(list(self._get_indices(indices)))

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Indices = None
    ) -> list[bool]:
        """No environment is wrapped."""
        return [False] * len(list(self._get_indices(indices)))

    def get_images(self) -> list[NDArray[np.uint8] | None]:
        """One frame per environment, when made with render_mode="rgb_array"."""
        return list(self.env.render() or [None] * self.num_envs)
