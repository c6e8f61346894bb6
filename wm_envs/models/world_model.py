"""WorldModel: V, M and recorded initial states of one game, and the dynamics of every dream.

A step of a dream is a pure function of an explicit `State`, an action and noise: `WorldModel.step`. Every dream uses
it, single or batched, in play and in training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor

from wm_envs.errors import InvalidOption, UnknownName
from wm_envs.games.base import Task
from wm_envs.games.registry import get_task
from wm_envs.hardware import autocast
from wm_envs.models.controller import OBSERVATIONS
from wm_envs.models.memory.base import Memory, MemoryConfig
from wm_envs.models.memory.loss import reward_of_step
from wm_envs.models.memory.mdn_rnn import MDNRNNConfig
from wm_envs.models.memory.registry import memory_kinds
from wm_envs.models.state import LATENT_LIMIT, Noise, Outcome, Recurrent, State
from wm_envs.models.vision.base import Vision, VisionConfig, draw_latents, to_frames, to_images
from wm_envs.models.vision.conv_vae import ConvVAEConfig
from wm_envs.models.vision.registry import vision_kinds
from wm_envs.validation import STRICT


@dataclass(frozen=True, config=STRICT)
class WorldConfig:
    """Everything about a world except its weights."""

    task: str = "takecover"
    vision: Annotated[VisionConfig, BeforeValidator(vision_kinds().read)] = ConvVAEConfig()
    memory: Annotated[MemoryConfig, BeforeValidator(memory_kinds().read)] = MDNRNNConfig()
    frame_skip: Annotated[int, Field(gt=0, le=1000)] = 4  # game ticks in one step
    posterior_noise: Annotated[float, Field(ge=0)] = 1.0  # factor on V's posterior std in latents (the paper: 1)
    # The end is drawn from its calibrated probability, or comes at the logit > 0, as in the paper.
    termination: Literal["sampled", "threshold"] = "sampled"
    termination_shift: Annotated[float, Field(ge=-10, le=10)] = 0.0  # added to M's logit of the end in dreams
    temperature: Annotated[float, Field(gt=0)] = 1.0  # default of gym.make
    observed: Literal["all", "modelled"] = "all"  # latents in observations: all, or those that M sees and predicts
    burn_in: Annotated[int, Field(ge=0)] = 0  # ticks skipped at the start of an episode; see Timing.burn_in
    reward_scale: Annotated[float, Field(ge=0)] = 0.0  # M predicts rewards divided by this; 0: by Rewards.scale
    reward_range: tuple[float, float] | None = None  # limits of the reward of a step: what the game was seen to pay

    @field_validator("task")
    @classmethod
    def _task_exists(cls, task: str) -> str:
        try:
            get_task(task)
        except (UnknownName, InvalidOption) as error:
            raise ValueError(str(error)) from error
        return task

    @model_validator(mode="after")
    def _parts_fit(self) -> WorldConfig:
        task, memory, limits = get_task(self.task), self.memory, self.reward_range
        if self.vision.latent != memory.latent:
            raise ValueError(f"V has {self.vision.latent} latents and M {memory.latent}, expected the same number")
        if memory.action != task.actions.size:
            raise ValueError(f"memory.action is {memory.action}, expected {task.actions.size} for {task.title}")
        if self.burn_in >= task.timing.tick_limit:
            raise ValueError(f"burn_in is {self.burn_in}, expected less than {task.timing.tick_limit}")
        if memory.progress and not task.rewards.goal:
            raise ValueError(f"memory.progress is true, but {task.title} has no goal")
        if limits and not (math.isfinite(limits[0]) and math.isfinite(limits[1]) and limits[0] <= limits[1]):
            raise ValueError(f"reward_range is {limits}, expected the lowest and the highest reward of a step")
        return self


class WorldModel:
    """V, M and recorded initial states of one game; `step` is the dynamics of every dream.

    A dream starts from one of N recorded states: `initial_means` and `initial_logvars` (N, Z) are V's posterior, and
    `initial_recurrent` (each part (N, ...)) is M's recurrent state, by default the one before the first step.
    """

    def __init__(
        self, config: WorldConfig, vision: Vision, memory: Memory, initial_means: Tensor, initial_logvars: Tensor,
        initial_recurrent: Recurrent | None = None,
    ) -> None:  # fmt: skip
        self.config = config
        self._shares: WorldModel | None = None  # keeps the world that this one shares its weights with
        self.task: Task = get_task(config.task)
        self.reward_scale = config.reward_scale or self.task.rewards.scale
        self.vision = vision.eval().requires_grad_(False)
        self.memory = memory.eval().requires_grad_(False)
        self.device = memory.device
        modelled = torch.tensor(memory.modelled, device=self.device)
        self._observed = modelled if config.observed == "modelled" else None
        self.observed_latents = config.memory.latent if self._observed is None else len(modelled)
        self.initial_means = initial_means.float().to(self.device)
        self.initial_logvars = initial_logvars.float().to(self.device)
        recurrent = memory.initial_state(len(initial_means)) if initial_recurrent is None else initial_recurrent
        self.initial_recurrent: Recurrent = tuple(part.float().to(self.device) for part in recurrent)

    def share(self, config: WorldConfig | None = None) -> WorldModel:
        """A copy that shares the weights but has its own buffers for `step`.

        `config` may differ in what the weights do not depend on, such as `termination`.
        """
        other = WorldModel(
            config or self.config, self.vision, self.memory.share(), self.initial_means, self.initial_logvars,
            self.initial_recurrent,
        )  # fmt: skip
        other._shares = self
        return other

    def with_components(self, components: Sequence[int]) -> WorldModel:
        """A copy that shares the weights and whose dreams draw only from these components of M's mixtures."""
        other = self.share()
        other.memory.masked = tuple(k for k in range(self.config.memory.mixtures) if k not in components)
        return other

    # --- states ------------------------------------------------------------------------------------

    def initial_state(self, batch: int, generator: torch.Generator) -> State:
        """Initial State of `batch` dreams: a random recorded state each, with z ~ N(mean, std) from V's posterior."""
        which = torch.randint(len(self.initial_means), (batch,), generator=generator, device=generator.device)
        normal = torch.randn(batch, self.config.memory.latent, generator=generator, device=generator.device)
        return self.recorded_state(which.to(self.device), normal)

    def recorded_state(self, which: Tensor, normal: Tensor) -> State:
        """Recorded States `which` (B,), of 0..N-1, with z drawn from V's posterior by `normal` (B, Z)."""
        latents = self.draw_latents(self.initial_means[which], self.initial_logvars[which], normal)
        ticks = torch.full((len(which),), self.config.burn_in, dtype=torch.int64, device=self.device)
        return State(latents, tuple(part[which] for part in self.initial_recurrent), ticks, self._no_progress(which))

    def state_from_latents(self, latents: Tensor) -> State:
        """The State at the first frame of an episode, from V's latents (B, Z) of this frame."""
        latents = latents.clamp(-LATENT_LIMIT, LATENT_LIMIT)
        ticks = torch.zeros(len(latents), dtype=torch.int64, device=self.device)
        return State(latents, self.memory.initial_state(len(latents)), ticks, self._no_progress(ticks))

    def _no_progress(self, like: Tensor) -> Tensor:
        return torch.zeros(len(like), device=self.device)

    def state_shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of a State of `batch` dreams, in the order of `State.tensors`."""
        recurrent = {name: (batch, *shape) for name, shape in self.memory.recurrent_shapes.items()}
        return {"latents": (batch, self.config.memory.latent), **recurrent, "ticks": (batch,), "progress": (batch,)}

    def state_to_tensors(self, state: State) -> dict[str, Tensor]:
        """A State as named tensors, for storage."""
        return dict(zip(self.state_shapes(1), state.tensors(), strict=True))

    def state_from_tensors(self, tensors: dict[str, Tensor]) -> State:
        """The inverse of `state_to_tensors`."""
        latents, *recurrent, ticks, progress = (tensors[name] for name in self.state_shapes(1))
        return State(latents, tuple(recurrent), ticks, progress)

    # --- one step ----------------------------------------------------------------------------------

    def draw_noise(self, batch: int, generator: torch.Generator) -> Noise:
        """Draw the noise of one step of `batch` dreams from `generator`."""
        latent = self.config.memory.latent
        uniform = torch.rand(batch, latent + 1, generator=generator, device=generator.device)
        normal = torch.randn(batch, latent, generator=generator, device=generator.device)
        return Noise(uniform[:, :latent].to(self.device), normal.to(self.device), uniform[:, latent].to(self.device))

    @torch.no_grad()
    def step(self, state: State, action: Tensor, noise: Noise, temperature: Tensor) -> tuple[State, Outcome]:
        """One step of B dreams.

        `action` (B, A) is a value of `Actions.to_game`; `temperature` (B, 1) or (1, 1) is > 0. Returns the next State
        and the Outcome. `state` is not changed.
        """
        prediction, recurrent = self.predict(state, action)
        latents = self.memory.sample(prediction, temperature, noise)
        prediction = self.memory.see_next(prediction, latents)
        logit = prediction.termination.float() + self.config.termination_shift
        probability = self.memory.termination_probability(logit)
        sampled = self.config.termination == "sampled"
        terminated = noise.termination < probability if sampled else logit > 0
        skip = self.config.frame_skip
        # The reward is 1 per tick survived. On average, a termination happens in the middle of its step.
        reward = torch.where(terminated, (skip + 1) / 2, float(skip))
        if prediction.reward is not None:
            reward = reward_of_step(prediction, terminated) * self.reward_scale
            if self.config.reward_range is not None:
                reward = reward.clamp(*self.config.reward_range)
        after = self.next_state(state, latents, recurrent, reward)
        return after, Outcome(reward, terminated, probability)

    def next_state(self, state: State, latents: Tensor, recurrent: Recurrent, rewards: Tensor) -> State:
        """The State after a step from `state` with these results; `rewards` (B,) are the sums over its ticks."""
        skip, progress = self.config.frame_skip, state.progress
        if self.config.memory.progress:
            earned = self.task.rewards.earned(rewards.to(progress), skip)
            progress = (progress + earned / self.task.rewards.goal).clamp(max=1)
        return State(latents, recurrent, state.ticks + skip, progress)

    def expected_reward(self, outcome: Outcome) -> Tensor:
        """The mean reward (B,) of a step over whether it ends the game; its reward where M predicts rewards."""
        skip, end = self.config.frame_skip, outcome.termination_probability
        return skip - end * (skip - 1) / 2 if not self.config.memory.reward else outcome.reward

    def predict(self, state: State, action: Tensor) -> tuple[Any, Recurrent]:
        """M's prediction for the next step and the new recurrent state, for `action` (B, A); see `Memory.step`."""
        return self.memory.step(state.latents, action, state.ticks, state.recurrent, state.progress)

    @torch.no_grad()
    def surprise(self, prediction: Any, latents: Tensor) -> Tensor:
        """-log p of the next latents (B, Z) in M's prediction of `predict`, in nats per modelled dimension, (B,)."""
        return self.memory.nll(prediction, latents).sum(dim=1) / len(self.memory.modelled)

    # --- between frames and latents ----------------------------------------------------------------

    def draw_latents(self, mean: Tensor, logvar: Tensor, normal: Tensor) -> Tensor:
        """Latents (B, Z) from V's posterior, with `posterior_noise`, clipped to `LATENT_LIMIT`."""
        drawn = draw_latents(mean, logvar, self.config.posterior_noise, normal.to(self.device))
        return drawn.clamp_(-LATENT_LIMIT, LATENT_LIMIT)

    @torch.no_grad()
    def encode(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Frames (B, 64, 64, 3) uint8 -> mean and log variance of their latents, (B, Z) float32 each."""
        with autocast(self.device):
            mean, logvar = self.vision.encode(to_images(frames.to(self.device)))
        return mean.float(), logvar.float()

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, Z) -> frames (B, 64, 64, 3) uint8."""
        return to_frames(self.vision.decode(latents.to(self.device)))

    # --- observations and checks -------------------------------------------------------------------

    def observe(self, state: State, observation: str = "zh") -> Tensor:
        """Features (B, F): "zh", "zch" or "z". The paper's C observes z and h, and for Doom also c.

        z has `observed_latents` numbers. With `observed` "modelled" these are the latents that M models; the others are
        noise.
        """
        assert observation in OBSERVATIONS
        latents = state.latents if self._observed is None else state.latents[:, self._observed]
        parts = {"z": latents, **self.memory.features(state.recurrent)}
        return torch.cat([parts[letter] for letter in observation], dim=1)

    def check_state(self, state: Any, batch: int) -> str:
        """What is expected if `state` is not a valid State of `batch` dreams of this world; "" if it is valid."""
        shapes = list(self.state_shapes(batch).values())
        fits = isinstance(state, State) and isinstance(state.recurrent, tuple)
        values = state.tensors() if fits else ()
        if len(values) != len(shapes) or not all(
            isinstance(value, Tensor) and value.shape == shape and bool(torch.isfinite(value.float()).all())
            for value, shape in zip(values, shapes, strict=True)
        ):
            return f"a State of finite tensors of shapes {[tuple(shape) for shape in shapes]}"
        if bool((state.ticks < 0).any()) or float(state.latents.abs().max()) > LATENT_LIMIT:
            return f"ticks of at least 0 and latents within {LATENT_LIMIT}"
        if bool(((state.progress < 0) | (state.progress > 1)).any()):
            return "progress from 0 to 1"
        return ""
