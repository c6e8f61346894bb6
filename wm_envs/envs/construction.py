"""How an environment was made: its arguments, for copies of it, and its limit of steps."""

from __future__ import annotations

import copy
import inspect
from typing import Any, Self

from gymnasium.envs.registration import EnvSpec

from wm_envs.envs.checks import refuse_unknown
from wm_envs.games.base import Keywords


class Constructed:
    """Mixin of the environments.

    A copy (`pickle`, `copy.deepcopy`) is a new environment with the same arguments, before its first reset. Gymnasium's
    `EzPickle` would make a second environment for it and drop that one, and a `VectorEnv` that is dropped closes its
    games. An unknown keyword raises a `TypeError` that names the nearest one.

    `spec.max_episode_steps` is the number of steps after which the environment itself truncates an episode. It depends
    on the world, so the registered specs do not have it and `gym.make` adds no TimeLimit.
    """

    _arguments: tuple[tuple[Any, ...], Keywords]
    _spec: EnvSpec | None = None
    step_limit: int | None = None  # steps of an episode at most

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Keep the arguments."""
        if "settings" not in cls.keywords():  # these depend on the game
            refuse_unknown(kwargs, cls.keywords(), cls.__name__)
        env = super().__new__(cls)
        env._arguments = args, kwargs
        return env

    @classmethod
    def keywords(cls) -> list[str]:
        """Names of the keywords."""
        return list(inspect.signature(cls.__init__).parameters)[1:]

    def __reduce__(self) -> tuple[Any, ...]:
        """For copies."""
        return _construct, (type(self), *self._arguments, self._spec)

    @property
    def spec(self) -> EnvSpec | None:
        """The spec that `gym.make` used, with the limit of steps of the environment if the spec has none."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        if spec is not None and spec.max_episode_steps is None:
            spec = copy.copy(spec)
            spec.max_episode_steps = self.step_limit
        self._spec = spec


def _construct(cls: type[Any], args: tuple[Any, ...], kwargs: Keywords, spec: EnvSpec | None) -> Any:
    env = cls(*args, **kwargs)
    env.spec = spec
    return env
