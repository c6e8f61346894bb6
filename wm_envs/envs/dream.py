"""DreamEnv and DreamVectorEnv: two thin shells over `WorldModel.step`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from torch import Tensor

from wm_envs.envs.single import LatentEnv
from wm_envs.envs.spaces import RENDER_MODES, check_temperature, one_of
from wm_envs.envs.vector import Lanes, LatentVectorEnv, Mask, open_world
from wm_envs.errors import InvalidOption
from wm_envs.models.mdn_rnn import LATENT_LIMIT
from wm_envs.models.state import State
from wm_envs.models.world_model import WorldModel


class DreamVectorEnv(LatentVectorEnv):
    """`num_envs` dreams, one batched step of M for all; see `DreamEnv` for what a dream is.

    One generator serves all lanes, so an episode depends on the seed and on `num_envs`; with
    num_envs=1 the numbers are those of `DreamEnv`. For the autoreset modes see `LatentVectorEnv`.
    """

    reset_options = ("reset_mask", "temperature", "state")

    def __init__(
        self, num_envs: int = 1, max_episode_steps: int | None = None, world: str = "takecover",
        temperature: float | None = None, observation: str = "zh", actions: str = "continuous",
        termination: str | None = None, device: str = "cpu", render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    ) -> None:  # fmt: skip
        model = open_world(world, device, termination)
        super().__init__(model, num_envs, max_episode_steps, observation, actions, render_mode, autoreset_mode)
        self._temperature = check_temperature(model.config.temperature if temperature is None else temperature)
        self._generator = torch.Generator()
        self._state = model.begin(torch.zeros(num_envs, model.config.memory.latent, device=model.device))

    @property
    def temperature(self) -> float:
        """Temperature of the next step; can be set at any time."""
        return self._temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        self._temperature = check_temperature(value)

    @property
    def state(self) -> State:
        """Where the dreams are; give it to `reset(options={"state": ...})` to branch them."""
        return State(*(value.clone() for value in self._state))

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin episodes on all lanes, or on those of options["reset_mask"] (bool, (num_envs,)).

        Other options: "temperature", and "state", a State of num_envs lanes to begin from. `seed` is
        one number, since all lanes share a generator.
        """
        chosen, mask = self._check_reset(options)
        temperature = check_temperature(chosen.get("temperature", self._temperature))
        state = check_state(self._model, chosen["state"], self.num_envs) if "state" in chosen else None
        if isinstance(seed, list | tuple):
            raise InvalidOption("seed", seed, "one whole number: all lanes share a generator", "pass seed=0, say")
        super().reset(seed=seed)
        if seed is not None or not self._began:
            self._generator.manual_seed(int(self.np_random.integers(2**63)))
        self._temperature = temperature
        self._begin(mask, state)
        return self._finish_reset(mask)

    def _begin(self, mask: Mask, state: State | None = None) -> None:
        lanes = torch.from_numpy(mask).to(self._model.device)
        fresh = self._model.start(int(mask.sum()), self._generator) if state is None else state.select(lanes)
        self._state.put(lanes, fresh)

    def _advance(self, game_action: NDArray[np.float32], idle: Mask) -> Lanes:
        model = self._model
        noise = model.draw_noise(self.num_envs, self._generator)
        temperatures = torch.full((1, 1), self._temperature, device=model.device)
        self._state, outcome = model.step(
            self._state, torch.from_numpy(game_action).to(model.device), noise, temperatures
        )
        values = (*outcome, self._state.ticks)
        reward, terminated, probability, ticks = (value.cpu().numpy() for value in values)
        infos = {
            "termination_probability": probability,
            "ticks": ticks.copy(),
        }  # of this step, whatever is begun after it
        infos |= {f"_{name}": ~idle for name in infos}
        return Lanes(reward.astype(np.float64), terminated.copy(), ticks >= self._limit, infos)

    def _frames(self) -> NDArray[np.uint8]:
        return self._model.decode(self._state.latents).cpu().numpy()

    def _features(self) -> NDArray[np.float32]:
        return self._model.observe(self._state, self._observation).cpu().numpy()


class DreamEnv(LatentEnv):
    """The hallucinated game: V and M in place of the game, at a temperature.

    **The agent sees** `observation`: "zh" (default), "zch" or "z" as float32 features (Z + H = 576
    for Take Cover's "zh"), or "pixels", V's decoding (64, 64, 3) uint8.
    **It does** `Box(-1, 1, (A,))` as in the paper, or one of `Discrete` with actions="discrete" (CarRacing: or "fine").
    **It gets** 1 for each tick of the game survived (a step is `frame_skip` ticks); where the game has other rewards
    (CarRacing), what M foretells of them.
    **An episode begins** at a recorded first frame; for CarRacing, when the camera is near (`WorldConfig.opening`).
    **An episode ends** (terminated) when M says so: drawn with its calibrated probability, or with
    termination="threshold" when its logit is above 0. It is truncated at the game's own limit of ticks.

    It is a `DreamVectorEnv` of one lane. Options of a reset: "temperature", and "state" to begin from a
    given State. The info of a step: "end_probability" and "ticks".
    """

    reset_options = ("temperature", "state")
    _lane: DreamVectorEnv

    def __init__(
        self, world: str = "takecover", temperature: float | None = None, observation: str = "zh",
        actions: str = "continuous", termination: str | None = None, device: str = "cpu",
        render_mode: str | None = None,
    ) -> None:  # fmt: skip
        one_of("render_mode", render_mode, RENDER_MODES)
        lane = DreamVectorEnv(
            1, None, world, temperature, observation, actions, termination, device, "rgb_array", AutoresetMode.DISABLED
        )
        super().__init__(lane, render_mode)

    @property
    def temperature(self) -> float:
        """Temperature of the next step; can be set at any time."""
        return self._lane.temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        self._lane.temperature = value

    @property
    def state(self) -> State:
        """Where the dream is, as a batch of one; give it to `reset(options={"state": ...})`."""
        return self._lane.state


def check_state(world: WorldModel, state: Any, batch: int) -> State:
    """`state` as a State of `batch` lanes of this world (copied); raises `InvalidOption`."""
    memory = world.config.memory
    shapes = ((batch, memory.latent), (batch, memory.hidden), (batch, memory.hidden), (batch,))
    fits = isinstance(state, tuple) and len(state) == len(shapes)
    fits = fits and all(
        isinstance(value, Tensor) and value.shape == shape and bool(torch.isfinite(value.float()).all())
        for value, shape in zip(state, shapes, strict=True)
    )
    if not fits:
        expected = f"a State of finite tensors of shapes {[tuple(s) for s in shapes]}"
        raise InvalidOption("state", state, expected, "take it from env.unwrapped.state of an env of the same world")
    if bool((state[3] < 0).any()) or float(state[0].abs().max()) > LATENT_LIMIT:
        expected = f"ticks of at least 0 and latents within {LATENT_LIMIT}"
        raise InvalidOption("state", state, expected, "take it from env.unwrapped.state of an env of the same world")
    latents, hidden, cell, ticks = (value.detach().clone().to(world.device) for value in state)
    return State(latents.float(), hidden.float(), cell.float(), ticks.long())
