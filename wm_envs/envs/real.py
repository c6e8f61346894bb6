"""RealEnv and RealVectorEnv: the real game seen through V and M, with the same spaces as its dream."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from wm_envs.envs.checks import RENDER_MODES, game_kwargs, one_of, open_world, refuse_unknown
from wm_envs.envs.engine import Mask
from wm_envs.envs.latent_games import LatentGames, OnTick
from wm_envs.envs.single import LatentEnv
from wm_envs.envs.vector import LatentVectorEnv
from wm_envs.errors import InvalidOption
from wm_envs.games.base import Options


class RealVectorEnv(LatentVectorEnv, VectorEnv[Any, Any, Any]):  # skrl looks for VectorEnv here
    """`num_envs` real games in this process, seen through one batch of V and M; see `RealEnv`.

    `autoreset_mode` is NEXT_STEP (default), SAME_STEP (infos["final_obs"]) or DISABLED (reset with
    options={"reset_mask": mask}). Game i of a reset with seed s plays the game's episode s + i.

    A `state` of these games is where a dream of the same world would be: give it to a dream's
    `reset(options={"state": ...})`, and the dream goes on from the game. `on_tick(env, action, tick)` is called after
    every tick, which is then drawn. With `curious`, the reward of a step is M's `surprise`, or 0 when the episode
    terminates.
    """

    _engine: LatentGames

    def __init__(
        self, num_envs: int = 1, max_episode_steps: int | None = None, world: str = "takecover",
        observation: str = "zh", actions: str | None = None, device: str = "cpu", render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP, renderer: str | None = None,
        on_tick: OnTick | None = None, render_size: int | None = None, curious: bool = False, **settings: float,
    ) -> None:  # fmt: skip
        model = open_world(world, device)
        refuse_unknown(settings, [*RealEnv.keywords()[:-1], *model.task.settings], f"the real {model.task.title}")
        kwargs = game_kwargs(model.task, renderer, settings)
        super().__init__(
            model, num_envs, max_episode_steps, observation, actions, render_mode, autoreset_mode, render_size
        )
        self._engine = LatentGames(model, [model.task.open(**kwargs) for _ in range(num_envs)], on_tick, curious)

    @property
    def instruments(self) -> list[dict[str, float]]:
        """What each game shows beside its picture; see `RealEnv.instruments`."""
        return [dict(getattr(game, "instruments", {})) for game in self._engine.games]

    @property
    def surprise(self) -> NDArray[np.float32]:
        """M's surprise in the last step (B,); see `RealEnv.surprise`."""
        return self._engine.surprise

    def _check_start(self, seed: Any, options: Options) -> list[int | None]:
        if isinstance(seed, list | tuple):
            seeds = list(seed)
        else:
            seeds = [seed + i if type(seed) is int else seed for i in range(self.num_envs)]
        whole = all(s is None or (type(s) is int and s >= 0) for s in seeds)
        if not whole or len(seeds) != self.num_envs:
            expected = f"None, a whole number of at least 0, or a list of {self.num_envs} of these"
            raise InvalidOption("seed", seed, expected, "pass seed=0, for example")
        return seeds

    def _start(self, mask: Mask, start: list[int | None] | None = None) -> None:
        drawn = self.np_random.integers(2**31, size=int(mask.sum())).tolist()
        seeds = np.array(start or [None] * self.num_envs, object)[mask]
        self._engine.reset(mask, [d if seed is None else seed for d, seed in zip(drawn, seeds, strict=True)])


class RealEnv(LatentEnv):
    """The real game, seen through V and M.

    ## Description

    `WMTakeCover-v0` (extra `doom`) and `WMCarRacing-v0` (extra `carracing`) have the spaces and limits of their dreams,
    so an agent trained in the dream plays here. `WMLatent-v0` is the game of any other world; it needs `world`. A step
    is `frame_skip` = 4 ticks of one action, and the frames in between are not drawn.

    Take Cover is ViZDoom's, at skill 4, in RGB without the HUD, the 4:3 screen without its lower sixth resized to 64 x
    64; 35 ticks a second. The engine runs in a process of its own. If the program is killed, the next start removes
    what the engine left behind. CarRacing is Gymnasium's CarRacing-v3; 50 ticks a second.

    ## Action Space, Observation Space

    Those of its dream; see `DreamEnv`. With `observation="pixels"`, the game's frame as V sees it, (64, 64, 3) uint8.

    ## Rewards

    Take Cover: the number of ticks survived in the step. CarRacing: the game's own: 1000 / tiles for each tile that is
    touched for the first time, -0.1 per tick, -100 off the field.

    ## Starting State

    `reset(seed=s)` plays the game's episode s (CarRacing: the track of seed s of CarRacing-v3).

    ## Episode End

    Take Cover: terminated when the player is dead, truncated after 2,100 ticks. CarRacing: terminated off the field, or
    when all tiles have been touched; truncated after 1,000 ticks.

    ## Information

    `ticks`, after a reset and after each step.

    ## Arguments

    - `world`, `observation`, `actions`, `device`, `render_mode`, `render_size`: as for `DreamEnv`.
    - `renderer` (CarRacing): "exact", the bytes of CarRacing-v3, drawn faster (default; scores are measured with it);
      "stock", Gymnasium's own; or "fast", V's picture drawn directly, 23 times as fast as "stock".
    - `lap_complete_percent` (CarRacing, 0.95): as in CarRacing-v3.
    - `off_road_cost` (CarRacing, 0): the cost of a tick with no wheel on the road, for training; scores are measured
      without it.
    - `on_tick(0, action, tick)`: called after every tick, which is then drawn.

    Other keywords raise a `TypeError`, also those that mean something only for a dream (`temperature`, `termination`).

    >>> import gymnasium as gym, wm_envs
    >>> env = gym.make("WMTakeCover-v0")  # doctest: +SKIP

    ## Version History

    - v0: the first. Its observations had other sizes in the release 1.0.0; see `DreamEnv`.
    """

    _vector: RealVectorEnv

    def __init__(
        self, world: str = "takecover", observation: str = "zh", actions: str | None = None, device: str = "cpu",
        render_mode: str | None = None, renderer: str | None = None, on_tick: OnTick | None = None,
        render_size: int | None = None, **settings: float,
    ) -> None:  # fmt: skip
        one_of("render_mode", render_mode, RENDER_MODES)
        vector = RealVectorEnv(
            num_envs=1, max_episode_steps=None, world=world, observation=observation, actions=actions, device=device,
            render_mode="rgb_array", autoreset_mode=AutoresetMode.DISABLED, renderer=renderer, on_tick=on_tick,
            render_size=render_size, curious=False, **settings,
        )  # fmt: skip
        super().__init__(vector, render_mode)

    @property
    def instruments(self) -> dict[str, float]:
        """What the game shows beside its picture: CarRacing's `speed` in metres per second. {} for other games.

        M and C do not see it.
        """
        return self._vector.instruments[0]

    @property
    def surprise(self) -> float:
        """-log p of the last step's latents in M's prediction, in nats per modelled dimension; 0 after a reset."""
        return float(self._vector.surprise[0])
