"""DreamEnv and DreamVectorEnv: Gymnasium environments over `Dreams`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from wm_envs.envs.checks import RENDER_MODES, check_components, check_state, check_temperature, one_of, open_world
from wm_envs.envs.dreams import Dreams
from wm_envs.envs.engine import Mask
from wm_envs.envs.single import LatentEnv
from wm_envs.envs.vector import LatentVectorEnv
from wm_envs.errors import InvalidOption


class DreamVectorEnv(LatentVectorEnv, VectorEnv[Any, Any, Any]):  # skrl looks for VectorEnv here
    """`num_envs` dreams of one world, one batched step of M for all of them; see `DreamEnv` for what a dream is.

    All dreams draw from one generator, so an episode depends on the seed and on `num_envs`; with num_envs=1 the
    numbers are those of `DreamEnv`. A list of `num_envs` seeds is taken, too: the generator is seeded from all of
    them together. `LatentVectorEnv` describes the autoreset modes.

    ## Example

    >>> import gymnasium as gym, wm_envs
    >>> envs = gym.make_vec("WMDream-v0", num_envs=256)
    >>> observations, infos = envs.reset(seed=0)
    >>> observations.shape
    (256, 565)
    """

    reset_options = ("reset_mask", "temperature", "state")
    zero_infos = ("termination_probability",)
    _engine: Dreams

    def __init__(
        self, num_envs: int = 1, max_episode_steps: int | None = None, world: str = "takecover",
        temperature: float | None = None, observation: str = "zh", actions: str | None = None,
        termination: str | None = None, device: str = "cpu", render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP, render_size: int | None = None,
        components: Sequence[int] | None = None,
    ) -> None:  # fmt: skip
        model = open_world(world, device, termination)
        drawn = check_components(components, model.config.memory.mixtures)
        model = model if drawn is None else model.with_components(drawn)
        super().__init__(
            model, num_envs, max_episode_steps, observation, actions, render_mode, autoreset_mode, render_size
        )
        chosen = model.config.temperature if temperature is None else temperature
        self._engine = Dreams(model, num_envs, check_temperature(chosen))

    @property
    def temperature(self) -> float:
        """Temperature of the next step; can be set at any time."""
        assert isinstance(self._engine.temperature, float)
        return self._engine.temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        self._engine.temperature = check_temperature(value)

    def _check_start(self, seed: Any, options: dict[str, Any]) -> dict[str, Any]:
        if isinstance(seed, list | tuple):
            whole = all(type(s) is int and s >= 0 for s in seed) or all(s is None for s in seed)
            if not whole or len(seed) != self.num_envs:
                expected = f"None, a whole number, or a list of {self.num_envs} whole numbers of at least 0"
                raise InvalidOption("seed", seed, expected, "pass seed=0, for example")
        checked: dict[str, Any] = {"seeded": self._one_seed(seed) is not None}
        if "temperature" in options:
            checked["temperature"] = check_temperature(options["temperature"])
        if "state" in options:
            checked["state"] = check_state(self._world, options["state"], self.num_envs)
        return checked

    def _one_seed(self, seed: Any) -> int | None:
        if not isinstance(seed, list | tuple) or len(seed) == 1 or None in seed:
            return super()._one_seed(seed)
        return int(np.random.SeedSequence(list(seed)).generate_state(1, np.uint64)[0])

    def _start(self, mask: Mask, given: dict[str, Any]) -> None:
        if given.get("seeded") or not self._has_reset:
            self._engine.seed(int(self.np_random.integers(2**63)))
        self._engine.temperature = given.get("temperature", self._engine.temperature)
        self._engine.reset(mask, given.get("state"))


class DreamEnv(LatentEnv):
    """A dream: the world model in place of the game, at a temperature.

    ## Action Space

    `actions="continuous"` (the default of the shipped games): `Box(-1, 1, (A,))`, as in the paper; for Take Cover
    below -1/3 moves left and above 1/3 right, for CarRacing it is steer, gas and brake. `actions="discrete"`: one of a
    few fixed actions (Take Cover: stay, right, left). CarRacing also has `actions="fine"`. A world of any other
    environment has `actions="own"` as its default, the action space of that environment.

    ## Observation Space

    `observation="zh"` (default): M's input z and its hidden state h as float32 features, (Z + H,), 565 numbers for Take
    Cover. "zch" adds the LSTM's cell state, "z" is z alone. "pixels": V's decoding, (64, 64, 3) uint8.

    ## Rewards

    1 for each tick survived; one step is `frame_skip` ticks. Where the game has other rewards (CarRacing), M's
    prediction of them.

    ## Starting State

    A recorded first frame, drawn from V's posterior; for CarRacing the moment when the camera has come down
    (`WorldConfig.burn_in`).

    ## Episode End

    Terminated when M says so: sampled with its calibrated probability, or with `termination="threshold"`, the paper's
    rule, when its logit is above 0. Truncated at the game's own limit of ticks.

    ## Arguments

    - `world`: a shipped name ("takecover", "takecover-paper", "carracing"), the folder of a world, or
      "hf://USER/NAME@REVISION".
    - `temperature`: above 0; higher is harder and more varied. Default: the world's own. It may be changed between any
      two steps, with `env.unwrapped.temperature` or `reset(options={"temperature": ...})`.
    - `observation`, `actions`, `termination`: see above.
    - `device`: where V and M run, "cpu" or "cuda".
    - `render_mode`: "rgb_array" or "human".
    - `render_size`: pixels of a side of the rendered picture; by default 64, and 512 in a window.
    - `components`: the components of M's mixtures that the dream draws from, such as [0, 2]; by default all. Their
      weights keep their ratios.

    Options of `reset`: "temperature", and "state", a State to go on from (see `state`). The info of a reset and
    of a step holds "termination_probability" (0 after a reset) and "ticks".

    ## Example

    >>> import gymnasium as gym, wm_envs
    >>> env = gym.make("WMDream-v0", temperature=1.15)
    >>> observation, info = env.reset(seed=0)
    >>> observation.shape
    (565,)
    """

    reset_options = ("temperature", "state")
    _vector: DreamVectorEnv

    def __init__(
        self, world: str = "takecover", temperature: float | None = None, observation: str = "zh",
        actions: str | None = None, termination: str | None = None, device: str = "cpu",
        render_mode: str | None = None, render_size: int | None = None, components: Sequence[int] | None = None,
    ) -> None:  # fmt: skip
        one_of("render_mode", render_mode, RENDER_MODES)
        vector = DreamVectorEnv(
            world=world, temperature=temperature, observation=observation, actions=actions, termination=termination,
            device=device, render_mode="rgb_array", autoreset_mode=AutoresetMode.DISABLED, render_size=render_size,
            components=components,
        )  # fmt: skip
        super().__init__(vector, render_mode)

    @property
    def temperature(self) -> float:
        """Temperature of the next step; can be set at any time."""
        return self._vector.temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        self._vector.temperature = value
