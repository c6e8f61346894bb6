"""FastCarRacing-v0: Gymnasium's CarRacing with faster renderers."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.utils import EzPickle
from numpy.typing import NDArray

from wm_envs.errors import InvalidAction, InvalidOption, ResetNeeded
from wm_envs.games.base import Info, Options, within
from wm_envs.games.car_racing.dependencies import CarRacing
from wm_envs.games.car_racing.exact_renderer import ExactRenderer, outgrown
from wm_envs.games.car_racing.small_renderer import SmallRenderer
from wm_envs.games.car_racing.task import FAST_RENDERERS


def checked_action(space: spaces.Space[Any], action: Any, limits: bool = True) -> Any:
    """`action`, if it is of the shape and type of `space`; raises `InvalidAction` otherwise.

    With `limits` its numbers must lie within those of `space`, without only be finite.
    """
    if isinstance(space, spaces.Discrete):
        checked = action if space.contains(action) else None
    else:
        assert isinstance(space, spaces.Box)
        largest = np.full(space.shape, np.finfo(np.float32).max)
        checked = within(action, space.low, space.high) if limits else within(action, -largest, largest)
    if checked is None:
        raise InvalidAction("action", action, f"one of {space}", "take one from env.action_space.sample()")
    return checked


class FastCarRacing(CarRacing):
    """`FastCarRacing-v0`: CarRacing-v3 with another renderer.

    ## Description
    Tracks, physics, rewards and terminations are Gymnasium's own. The observation is a picture; V and M have no part in
    it.

    ## Observation Space
    With renderer="exact" the (96, 96, 3) picture of CarRacing-v3, byte for byte. With renderer="fast" the (64, 64, 3)
    frame of V: the same picture without the indicators, scaled down; its pixels differ slightly.

    ## Action Space, Rewards, Episode End
    As in CarRacing-v3, which also takes numbers outside of the action space and limits them itself. An action of
    another shape or type, or one that is not finite, raises `InvalidAction`.

    ## Arguments
    - `renderer`: "exact" (default) or "fast".
    - `lap_complete_percent`, `domain_randomize`, `continuous`, `render_mode`, `verbose`: as in CarRacing-v3; `render`
      draws the picture of CarRacing-v3.

    ## Version History
    - v0: the first.
    """

    def __init__(
        self, renderer: str = "exact", render_mode: str | None = None, verbose: bool = False,
        lap_complete_percent: float = 0.95, domain_randomize: bool = False, continuous: bool = True,
    ) -> None:  # fmt: skip
        if renderer not in FAST_RENDERERS:
            raise InvalidOption("renderer", renderer, f"one of {list(FAST_RENDERERS)}", "pass renderer='exact'")
        super().__init__(render_mode, verbose, lap_complete_percent, domain_randomize, continuous)
        EzPickle.__init__(self, renderer, render_mode, verbose, lap_complete_percent, domain_randomize, continuous)
        self._renderer = SmallRenderer() if renderer == "fast" else ExactRenderer()
        self._drawn, self._resetting = True, False
        self.observation_space = spaces.Box(0, 255, self._renderer.shape, np.uint8)

    def reset(self, *, seed: int | None = None, options: Options | None = None) -> tuple[NDArray[np.uint8], Info]:
        """Start an episode on the track that CarRacing-v3 builds from `seed`."""
        self._resetting = True  # Gymnasium's reset plays one tick without an action
        try:
            return super().reset(seed=seed, options=options)
        finally:
            self._resetting = False

    def step(self, action: Any) -> tuple[Any, float, bool, bool, Info]:
        """One tick."""
        return self.tick(action)

    def tick(self, action: Any, drawn: bool = True) -> tuple[Any, float, bool, bool, Info]:
        """One tick, as in `step`; the observation is None if not `drawn`."""
        if self.car is None:
            raise ResetNeeded("step", "a step before the first reset", "a reset first", "call env.reset()")
        self._drawn = drawn
        return super().step(None if self._resetting else checked_action(self.action_space, action, limits=False))  # type: ignore[arg-type]

    def _create_track(self) -> bool:
        success = bool(super()._create_track())
        if success:
            self._renderer.set_track(self)
        return success

    def _render(self, mode: str) -> Any:
        if mode != "state_pixels":
            return super()._render(mode)
        if not self._drawn:
            return None
        if isinstance(self._renderer, ExactRenderer) and outgrown(self):
            return super()._render(mode)
        return self._renderer.draw(self)
