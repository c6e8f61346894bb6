"""What every environment keeps of its construction: its keywords, for copies of it, and its limit of steps."""

from __future__ import annotations

import copy
import inspect
from typing import Any, Self

from gymnasium.envs.registration import EnvSpec

from wm_envs.envs.spaces import keywords, refuse_unknown


class Constructed:
    """Mixin of the environments.

    A copy (`pickle`, `copy.deepcopy`) is a fresh environment with the same arguments, before its first reset. A keyword
    that the environment does not have raises `UnknownKeyword`. `spec.max_episode_steps` is the number of steps after
    which the environment truncates an episode itself: it depends on the world, so the registered specs leave it open
    and `gym.make` adds no TimeLimit.
    """

    _arguments: tuple[tuple[Any, ...], dict[str, Any]]
    _spec: EnvSpec | None = None
    _step_limit: int | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Keep the arguments."""
        free = any(p.kind == p.VAR_KEYWORD for p in inspect.signature(cls.__init__).parameters.values())
        if not free:
            refuse_unknown(kwargs, keywords(cls.__init__), f"a keyword of {cls.__name__}")
        env = super().__new__(cls)
        env._arguments = args, kwargs
        return env

    def __reduce__(self) -> tuple[Any, ...]:
        """For copies."""
        return _construct, (type(self), *self._arguments, self._spec)

    @property
    def spec(self) -> EnvSpec | None:
        """What `gym.make` made it from, with its own limit of steps where none was asked for."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        if spec is not None and spec.max_episode_steps is None:
            spec = copy.copy(spec)
            spec.max_episode_steps = self._step_limit
        self._spec = spec


def _construct(cls: type[Any], args: tuple[Any, ...], kwargs: dict[str, Any], spec: EnvSpec | None) -> Any:
    env = cls(*args, **kwargs)
    env.spec = spec
    return env
