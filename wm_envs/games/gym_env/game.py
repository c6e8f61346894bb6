"""The game behind the task of any environment: pixels and ticks. A tick is one step of the environment."""

from __future__ import annotations

import contextlib
import importlib
import math
import os
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import error as gym_error

from wm_envs.errors import BrokenGame, MissingPackage, ResetNeeded, UnknownName, did_you_mean
from wm_envs.games.base import Array, Frame, Info, Keywords, Tick
from wm_envs.games.gym_env.description import EnvDescription, parse
from wm_envs.games.gym_env.frames import as_rgb, small

MODULES = "WM_ENVS_IMPORT"  # modules that register environments, comma separated; worker processes inherit it
KNOWN = {"ALE/": ("ale_py", "ale-py"), "MiniGrid-": ("minigrid", "minigrid"), "BabyAI-": ("minigrid", "minigrid")}


def find_spec(env_id: str) -> Any:
    """Gymnasium's spec of an id, after the import of the modules that the user named, and of well-known packages.

    Raises `UnknownName` with near ids, or `MissingPackage`.
    """
    for module in filter(None, os.environ.get(MODULES, "").split(",")):
        importlib.import_module(module)
    for start, (module, package) in KNOWN.items():
        if env_id.startswith(start):
            _import(env_id, module, package)
    try:
        return gym.spec(env_id)
    except gym_error.Error as error:
        expected = "an id that is registered with Gymnasium"
        fix = f"import the package that registers it, or set {MODULES}=PACKAGE{did_you_mean(env_id, gym.registry)}"
        raise UnknownName("env", env_id, expected, fix) from error


def _import(env_id: str, module: str, package: str) -> None:
    try:
        gym.register_envs(importlib.import_module(module))
    except ImportError as error:
        raise MissingPackage(env_id, f"no package {error.name!r}", package, f"pip install {package}") from error


def make_env(env_id: str, kwargs: Keywords, picture: str) -> gym.Env[Any, Any]:
    """The environment without a limit of steps; with `picture` "render", one that draws pictures.

    Raises `UnknownName`, `MissingPackage`, or `BrokenGame` for one that cannot be made.
    """
    find_spec(env_id)
    drawn = {"render_mode": "rgb_array"} if picture == "render" else {}
    try:
        return gym.make(env_id, max_episode_steps=-1, disable_env_checker=True, **drawn, **kwargs)
    except gym_error.DependencyNotInstalled as error:
        raise MissingPackage(env_id, str(error), "the packages of the game", "install them") from error
    except Exception as error:  # whatever the environment raises
        given = f"{type(error).__name__}: {error}"
        raise BrokenGame(env_id, given, "an environment", "fix the environment, or change --env-kwargs") from error


class GymGame:
    """Any environment without a time limit; satisfies `wm_envs.games.base.Game`.

    An error of the environment is raised as `BrokenGame`.
    """

    def __init__(self, name: str) -> None:
        self.description: EnvDescription = parse(name)
        self.env = make_env(self.description.id, self.description.kwargs, self.description.picture)
        self.finished = False
        self._lives: int | None = None
        self._shape: tuple[int, ...] | None = None

    def reset(self, seed: int) -> Frame:
        """Start the episode of `seed`."""
        with self._named("reset"):
            observation, info = self.env.reset(seed=int(seed))
        self._lives = _lives(info)
        return self._frame(observation)

    def advance(self, action: Array, ticks: int) -> Tick:
        """Hold `action` (A,), see `ActionCodec`, for `ticks` steps of the environment."""
        if self._shape is None:
            raise ResetNeeded("advance", "a tick before the first reset", "a reset first", "call game.reset(0)")
        chosen, total = self._native(action), 0.0
        for played in range(1, ticks + 1):
            with self._named("step"):
                observation, reward, terminated, truncated, info = self.env.step(chosen)
            if not math.isfinite(float(reward)):
                raise BrokenGame(self.description.id, f"the reward {reward}", "a finite number", "fix the environment")
            total += float(reward)
            if terminated or self._lost_a_life(info):
                return Tick(None, total, True, played)
            if truncated:
                return Tick(self._frame(observation), total, False, played, truncated=True)
        return Tick(self._frame(observation), total, False, ticks)

    def close(self) -> None:
        """Close the environment. May be called twice."""
        self.env.close()

    def _native(self, action: Array) -> Any:
        chosen = self.description.actions.decode(np.asarray(action, np.float32))
        return chosen.item() if chosen.ndim == 0 else chosen

    def _lost_a_life(self, info: Info) -> bool:
        before, self._lives = self._lives, _lives(info)
        return self.description.life_loss_ends and before is not None and (self._lives or 0) < before

    def _frame(self, observation: Any) -> Frame:
        picture = observation
        if self.description.picture == "render":
            with self._named("render"):
                picture = self.env.render()
        image = as_rgb(picture)
        if self._shape not in (None, image.shape):
            given = f"a picture of {image.shape[:2]} pixels after one of {self._shape[:2]}"
            raise BrokenGame(self.description.id, given, "pictures of one size", "wrap the environment")
        self._shape = image.shape
        return small(image, self.description.crop)

    @contextlib.contextmanager
    def _named(self, call: str) -> Iterator[None]:
        """Errors of the environment, with its id."""
        try:
            yield
        except Exception as error:
            given = f"{type(error).__name__} in {call}: {error}"
            raise BrokenGame(self.description.id, given, "a step without an error", "fix the environment") from error


def _lives(info: Info) -> int | None:
    """The lives that are left, as Atari's environments tell."""
    return int(info["lives"]) if "lives" in info else None
