"""The real CarRacing: Gymnasium's own game, drawn faster."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.utils import EzPickle
from numpy.typing import NDArray

from wm_envs.errors import InvalidAction, InvalidOption, ResetNeeded
from wm_envs.games.car_racing.dependencies import CarRacing
from wm_envs.games.car_racing.exact_renderer import ExactRenderer, outgrown
from wm_envs.games.car_racing.small_renderer import SmallRenderer

RENDERERS = ("exact", "fast")


def checked_action(space: spaces.Space[Any], action: Any) -> Any:
    """`action` as CarRacing takes it; raises `InvalidAction` where the game would take it silently."""
    if isinstance(space, spaces.Discrete):
        if not space.contains(action):
            raise _refused(space, action)
        return action
    assert isinstance(space, spaces.Box)
    try:
        values = np.asarray(action)
    except ValueError as error:
        raise _refused(space, action) from error
    fits = values.dtype.kind in "iuf" and values.shape == space.shape
    if not fits or not ((values >= space.low) & (values <= space.high)).all():  # NaN is neither
        raise _refused(space, action)
    return values


def _refused(space: spaces.Space[Any], action: Any) -> InvalidAction:
    return InvalidAction("action", action, f"one of {space}", "take one from env.action_space.sample()")


class FastCarRacing(CarRacing):
    """CarRacing-v3 with another painter: tracks, physics, rewards and ends are Gymnasium's own.

    Sees: with drawing="exact" the (96, 96, 3) picture of CarRacing-v3, byte for byte; with "fast" the
    (64, 64, 3) picture that V needs, which is the same without the indicators, scaled, and about alike.
    Does, gets, ends: as CarRacing-v3. An action that is not in the action space is refused.

    `render` draws what CarRacing-v3 would.
    """

    def __init__(
        self, renderer: str = "exact", render_mode: str | None = None, verbose: bool = False,
        lap_complete_percent: float = 0.95, domain_randomize: bool = False, continuous: bool = True,
    ) -> None:  # fmt: skip
        if renderer not in RENDERERS:
            raise InvalidOption("renderer", renderer, f"one of {list(RENDERERS)}", "pass drawing='exact', say")
        super().__init__(render_mode, verbose, lap_complete_percent, domain_randomize, continuous)
        EzPickle.__init__(self, renderer, render_mode, verbose, lap_complete_percent, domain_randomize, continuous)
        self._renderer = SmallRenderer() if renderer == "fast" else ExactRenderer()
        self._drawn, self._resetting = True, False
        self.observation_space = spaces.Box(0, 255, self._renderer.shape, np.uint8)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Begin an episode, with the track that CarRacing-v3 makes of `seed`."""
        self._resetting = True  # Gymnasium's reset plays one tick without an action
        try:
            return super().reset(seed=seed, options=options)
        finally:
            self._resetting = False

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One tick."""
        return self.tick(action)

    def tick(self, action: Any, drawn: bool = True) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One tick as `step` plays it; if not `drawn`, without its picture (None)."""
        if self.car is None:
            raise ResetNeeded("step", "a step before the first reset", "reset() first", "call env.reset()")
        self._drawn = drawn
        return super().step(None if self._resetting else checked_action(self.action_space, action))  # type: ignore[arg-type]

    def _create_track(self) -> bool:
        success = bool(super()._create_track())
        if success:
            self._renderer.begin(self)
        return success

    def _render(self, mode: str) -> Any:
        if mode != "state_pixels":
            return super()._render(mode)
        if not self._drawn:
            return None
        if isinstance(self._renderer, ExactRenderer) and outgrown(self):
            return super()._render(mode)
        return self._renderer.draw(self)
