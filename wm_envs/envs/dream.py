"""DreamEnv and DreamVectorEnv: Gymnasium environments over `Dreams`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from wm_envs.envs.checks import RENDER_MODES, check_components, check_state, check_temperature, one_of, open_world
from wm_envs.envs.dreams import Dreams
from wm_envs.envs.engine import Mask
from wm_envs.envs.single import LatentEnv
from wm_envs.envs.vector import LatentVectorEnv
from wm_envs.errors import InvalidOption
from wm_envs.games.base import Options
from wm_envs.models.state import State


class _Start(NamedTuple):
    """What a reset begins with."""

    seeded: bool
    temperature: float
    state: State | None


class DreamVectorEnv(LatentVectorEnv, VectorEnv[Any, Any, Any]):  # skrl looks for VectorEnv here
    """`num_envs` dreams of one world, with one batched step of M for all of them; see `DreamEnv`.

    `gym.make_vec` makes it, with the keywords of `DreamEnv`. `autoreset_mode` is NEXT_STEP (default), SAME_STEP
    (infos["final_obs"]) or DISABLED (reset with options={"reset_mask": mask}).

    All dreams draw from one generator, so an episode depends on the seed and on `num_envs`; with num_envs=1 the
    numbers are those of `DreamEnv`. `reset(seed=[...])` takes `num_envs` seeds and seeds the generator from all of them
    together: one dream does not depend on its own seed alone.

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
        if (kept := check_components(components, model.config.memory.mixtures)) is not None:
            model = model.with_components(kept)
        super().__init__(
            model, num_envs, max_episode_steps, observation, actions, render_mode, autoreset_mode, render_size
        )
        temperature = model.config.temperature if temperature is None else temperature
        self._engine = Dreams(model, num_envs, check_temperature(temperature))

    @property
    def temperature(self) -> float:
        """Temperature of the next step; can be set at any time."""
        assert isinstance(self._engine.temperature, float)
        return self._engine.temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        self._engine.temperature = check_temperature(value)

    def _check_start(self, seed: Any, options: Options) -> _Start:
        if isinstance(seed, list | tuple):
            whole = all(type(s) is int and s >= 0 for s in seed) or all(s is None for s in seed)
            if not whole or len(seed) != self.num_envs:
                expected = f"None, a whole number, or a list of {self.num_envs} whole numbers of at least 0"
                raise InvalidOption("seed", seed, expected, "pass seed=0, for example")
        temperature = check_temperature(options.get("temperature", self.temperature))
        state = check_state(self._world, options["state"], self.num_envs) if "state" in options else None
        return _Start(self._one_seed(seed) is not None, temperature, state)

    def _one_seed(self, seed: Any) -> int | None:
        if not isinstance(seed, list | tuple) or len(seed) == 1 or None in seed:
            return super()._one_seed(seed)
        return int(np.random.SeedSequence(list(seed)).generate_state(1, np.uint64)[0])

    def _start(self, mask: Mask, start: _Start | None = None) -> None:
        start = start or _Start(False, self.temperature, None)
        if start.seeded or not self._has_reset:
            self._engine.seed(int(self.np_random.integers(2**63)))
        self._engine.temperature = start.temperature
        self._engine.reset(mask, start.state)


class DreamEnv(LatentEnv):
    """A dream: V and M in place of a game.

    ## Description

    `WMDream-v0` is the dream of ViZDoom's Take Cover, `WMDreamCarRacing-v0` that of CarRacing. With the keyword `world`
    either opens a world of any game. A step is `frame_skip` ticks of the game, 4 in both. No game is installed or run.

    ## Action Space

    `actions="continuous"` (the default of the shipped games), as in the paper. Take Cover: `Box(-1, 1, (1,))`; below
    -1/3 is left, above 1/3 is right. CarRacing: `Box(-1, 1, (3,))`: steer, gas (-1 is none, 1 is full) and brake (above
    0). `actions="discrete"`: one of a few fixed actions; Take Cover: `Discrete(3)`, stay, right, left; CarRacing:
    `Discrete(8)`. CarRacing also has `actions="fine"`, `Discrete(28)`. The dream of any other environment has
    `actions="own"` as its default, the action space of that environment; if that is a Box of one or two numbers, there
    is `actions="fine"`, too, a grid of 9 or 5 x 5 actions.

    A continuous action that exceeds its limits by a rounding error (1.0000001) is clipped; any other action outside of
    the action space raises `InvalidAction`. To change the limits, wrap the environment with
    `gymnasium.wrappers.ClipAction` or `RescaleAction`.

    ## Observation Space

    float32 features from M; F is their number.

    | `observation` | holds | Take Cover | CarRacing |
    |---|---|---|---|
    | `"zh"` (default) | z, the latents that M models, and h, M's hidden state | (565,) | (266,) |
    | `"zch"` | z, c and h; c is M's cell state | (1077,) | (522,) |
    | `"z"` | z | (53,) | (10,) |
    | `"pixels"` | V's decoding of z, `Box(0, 255, (64, 64, 3), uint8)` | (64, 64, 3) | (64, 64, 3) |

    ## Rewards

    Take Cover: the ticks survived in the step, 4 while the player lives and 2.5 in the step in which it dies.
    CarRacing: M's prediction of the game's reward, about 3 for a new tile of the track and -0.1 per tick. M knows how
    much of the lap is done, and pays no tile twice.

    ## Starting State

    A recorded first frame, drawn from V's posterior; for CarRacing a frame 24 ticks into a recorded episode, when the
    camera has come down.

    ## Episode End

    Terminated when M predicts it: the player is dead; the car is off the field, or the lap is complete. With
    `termination="sampled"` it is drawn with M's calibrated probability; with "threshold", the paper's rule, it happens
    when M's logit is above 0. Truncated after 2,100 ticks (Take Cover) or 1,000 (CarRacing). The environment truncates
    by itself: `env.spec.max_episode_steps` is the greatest number of steps, 525 and 250.

    ## Information

    `termination_probability` (0 after a reset) and `ticks`, after a reset and after each step.

    ## Arguments

    - `world`: a shipped world ("takecover", "takecover-paper", "carracing"), the folder of a world, or
      "hf://USER/NAME@REVISION".
    - `temperature`: above 0; higher is harder and more varied. Default: the world's own, 1.0. It may be changed between
      any two steps, with `env.unwrapped.temperature` or `reset(options={"temperature": ...})`.
    - `observation`, `actions`, `termination`: see above.
    - `device`: where V and M run, "cpu" (default) or "cuda".
    - `render_mode`: "rgb_array", or "human", a window (extra `play`), which warns and shows nothing without a display.
    - `render_size`: pixels of a side of the rendered picture; by default 64, and 512 in a window.
    - `components`: the components of M's mixtures that the dream draws from, such as [0, 2]; by default all. Their
      weights keep their ratios.

    An unknown keyword raises a `TypeError`. The options of `reset` are "temperature" and "state", a `State` to go on
    from: `env.unwrapped.state`, of this environment or of any other of the same world.

    >>> import gymnasium as gym, wm_envs
    >>> env = gym.make("WMDream-v0", temperature=1.3, observation="z", actions="discrete")
    >>> observation, info = env.reset(seed=0, options={"temperature": 1.5})
    >>> observation, reward, terminated, truncated, info = env.step(1)
    >>> observation.shape
    (53,)

    ## More Ids

    For scripts that take nothing but an id: `WMDreamDiscrete-v0` (`actions="discrete"`), `WMDreamPixels-v0`
    (`observation="pixels"`) and `WMDreamDiscretePixels-v0` (both). The other environments have such ids, too:
    `WMDreamCarRacingPixels-v0`, `WMTakeCoverDiscrete-v0` and so on.

    ## Keys and Copies

    `gymnasium.utils.play.play(env)` works with the keys a and d, or left and right; with continuous actions say what no
    key does: `play(env, noop=np.zeros(1, np.float32))`. `pickle` and `copy.deepcopy` give a fresh environment with the
    same keywords, before its first reset. All environments of a process with the same world on the same device share
    its weights: do not change those of `env.unwrapped.world`. `wm_envs.load_world` gives a world of your own.

    ## Version History

    - v0: the first. The release 1.0.0 had observations of 576 numbers here (288 for CarRacing);
      `world="takecover-paper"` still has 576. From now on the spaces of an id stay as they are: a shipped world with
      other spaces gets a new version of the id, and the old version keeps opening the old world.
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
