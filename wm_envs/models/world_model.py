"""WorldModel: V, M and recorded first latents of one task, and THE dynamics of every dream.

A dream is a pure function of an explicit `State`, an action and the noise given: single or batched,
played, bred in or exported, everything goes through `WorldModel.step`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from wm_envs.games.base import Task
from wm_envs.games.registry import get_task
from wm_envs.hardware import compute_dtype
from wm_envs.models.controller import OBSERVATIONS
from wm_envs.models.mdn_rnn import LATENT_LIMIT, MDNRNN, MDNRNNConfig, Prediction, sample_latents
from wm_envs.models.state import Noise, Outcome, State
from wm_envs.models.vae import ConvVAE, ConvVAEConfig, to_frames, to_images

LOW_PRECISION_FROM = 8  # lanes from which bfloat16 products are faster than float32 ones


@dataclass(frozen=True)
class WorldConfig:
    """All of a world but its weights."""

    task: str = "takecover"
    vision: ConvVAEConfig = field(default_factory=ConvVAEConfig)
    memory: MDNRNNConfig = field(default_factory=MDNRNNConfig)
    frame_skip: int = 4  # game ticks in one step
    posterior_noise: float = 1.0  # z = mean + this * V's posterior std * noise (the paper: 1)
    termination: str = (
        "sampled"  # the end is "sampled" with its calibrated probability, or by the paper's "threshold": logit > 0
    )
    temperature: float = 1.0  # what gym.make uses unless told otherwise
    burn_in: int = 0  # ticks of a real episode before dreams begin; see Task.burn_in


class WorldModel:
    """V + M + first latents of one task; `step` is the dynamics of every dream."""

    def __init__(
        self, config: WorldConfig, vision: ConvVAE, memory: MDNRNN, initial_means: Tensor, initial_logvars: Tensor,
        first_hidden: Tensor | None = None, first_cell: Tensor | None = None,
    ) -> None:  # fmt: skip
        self.config = config
        self.task: Task = get_task(config.task)
        self.vision = vision.eval().requires_grad_(False)
        self.memory = memory.eval().requires_grad_(False)
        self.device = memory.head.weight.device
        self.initial_means = initial_means.float().to(self.device)  # (N, Z)
        self.initial_logvars = initial_logvars.float().to(self.device)  # (N, Z)
        nothing = torch.zeros(len(initial_means), config.memory.hidden)
        self.first_hidden = (nothing if first_hidden is None else first_hidden).float().to(self.device)  # (N, H)
        self.first_cell = (nothing if first_cell is None else first_cell).float().to(self.device)  # (N, H)
        self._layouts: dict[torch.dtype, tuple[Tensor, Tensor, Tensor, Tensor]] = {}
        self._workspaces: dict[tuple[int, torch.dtype], tuple[Tensor, Tensor, Tensor, Tensor]] = {}

    # --- noise: every random number comes from a generator of the caller's -------------------------

    def draw_noise(self, batch: int, generator: torch.Generator) -> Noise:
        """Noise for one step of `batch` dreams."""
        latent = self.config.memory.latent
        uniform = torch.rand(batch, latent + 1, generator=generator, device=generator.device)
        normal = torch.randn(batch, latent, generator=generator, device=generator.device)
        return Noise(uniform[:, :latent].to(self.device), normal.to(self.device), uniform[:, latent].to(self.device))

    # --- a dream -----------------------------------------------------------------------------------

    def start(self, batch: int, generator: torch.Generator) -> State:
        """States at the beginning of dreams: recorded first frames, z ~ N(mu, sigma), and M's state there."""
        which = torch.randint(len(self.initial_means), (batch,), generator=generator, device=generator.device)
        normal = torch.randn(batch, self.config.memory.latent, generator=generator, device=generator.device)
        which = which.to(self.device)
        latents = self.draw_latents(self.initial_means[which], self.initial_logvars[which], normal)
        ticks = torch.full((batch,), self.config.burn_in, dtype=torch.int64, device=self.device)
        return State(latents, self.first_hidden[which], self.first_cell[which], ticks)

    def draw_latents(self, mean: Tensor, logvar: Tensor, normal: Tensor) -> Tensor:
        """Latents (B, Z) from V's posterior and standard normal noise, which `posterior_noise` scales."""
        drawn = mean + self.config.posterior_noise * (logvar / 2).exp() * normal.to(self.device)
        return drawn.clamp_(-LATENT_LIMIT, LATENT_LIMIT)

    def begin(self, latents: Tensor) -> State:
        """The State of an episode whose first frames V encoded as `latents` (B, Z)."""
        hidden, cell = self.memory.initial_state(len(latents))
        latents = latents.clamp(-LATENT_LIMIT, LATENT_LIMIT)
        return State(latents, hidden, cell, torch.zeros(len(latents), dtype=torch.int64, device=self.device))

    @torch.no_grad()
    def step(self, state: State, action: Tensor, noise: Noise, temperature: Tensor) -> tuple[State, Outcome]:
        """One step of B dreams.

        `action` (B, A) is what the game executes (see `Task.game_action`), `temperature` (B, 1) or
        (1, 1) > 0. Returns the next State and the Outcome; `state` is left as it was.
        """
        prediction, hidden, cell = self.predict(state, action)
        latents = sample_latents(prediction, temperature, noise.uniform, noise.normal)
        probability = self.memory.termination_probability(prediction.termination.float())
        terminated = (
            noise.termination < probability if self.config.termination == "sampled" else prediction.termination > 0
        )
        skip = self.config.frame_skip
        # Reward 1 a tick survived; an end comes, on average, in the middle of its step.
        reward = torch.where(terminated, (skip + 1) / 2, float(skip))
        if prediction.reward is not None:
            reward = prediction.reward.float() * self.task.reward_scale
        return State(latents, hidden, cell, state.ticks + skip), Outcome(reward, terminated, probability)

    @torch.no_grad()
    def predict(self, state: State, action: Tensor) -> tuple[Prediction, Tensor, Tensor]:
        """M's prediction from (z, a, h, c), and the new h and c: one step of `MDNRNN`.

        The prediction is a view of a buffer that the next call overwrites.
        """
        low = compute_dtype(self.device) if len(state.latents) >= LOW_PRECISION_FROM else torch.float32
        weight, bias, head, head_bias = self._layout(low)
        inputs, products, gates, outputs = self._workspace(len(state.latents), low)
        latent, action_size = self.config.memory.latent, self.config.memory.action
        inputs[:, :latent] = state.latents
        inputs[:, latent : latent + action_size] = action
        if self.config.memory.restart:
            inputs[:, latent + action_size] = state.ticks == 0
        inputs[:, self.memory.inputs :] = state.hidden
        torch.addmm(bias, inputs, weight, out=products)
        if low != torch.float32:
            gates.copy_(products)
        enter, forget, leave, candidate = gates.sigmoid_().split(self.config.memory.hidden, dim=1)
        cell = state.cell * forget
        cell.addcmul_(enter, candidate, value=2).sub_(enter)  # + enter * tanh of the candidate
        hidden = (cell * 2).sigmoid_().mul_(2).sub_(1).mul_(leave)
        torch.addmm(head_bias, hidden.to(low), head, out=outputs)
        return self.memory.split(outputs), hidden, cell

    def _workspace(self, batch: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Buffers of a step, kept between steps: fresh pages cost more than the sums done in them."""
        if (batch, dtype) not in self._workspaces:
            config = self.config.memory
            widths = self.memory.inputs + config.hidden, 4 * config.hidden, self.memory.head.out_features
            inputs, products, outputs = (torch.empty(batch, n, dtype=dtype, device=self.device) for n in widths)
            self._workspaces = {(batch, dtype): (inputs, products, products.float(), outputs)}
        return self._workspaces[batch, dtype]

    def _layout(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """M's weights as one step wants them: gates as (I + H, 4H) in the order i, f, o, g.

        Those of g are doubled: tanh(x) = 2 sigmoid(2x) - 1, and PyTorch's sigmoid is several times
        faster than its tanh.
        """
        if dtype not in self._layouts:
            lstm, head = self.memory.lstm, self.memory.head
            weight_ih, weight_hh, bias_ih, bias_hh = lstm.all_weights[0]
            weight, bias = torch.cat([weight_ih, weight_hh], dim=1), bias_ih + bias_hh
            enter, forget, candidate, leave = range(4)  # PyTorch's order is i, f, g, o
            order = [enter, forget, leave, candidate]
            weight = weight.unflatten(0, (4, -1))[order].flatten(0, 1)
            bias = bias.unflatten(0, (4, -1))[order].flatten()
            for part in (weight, bias):
                part[3 * self.config.memory.hidden :] *= 2
            parts = weight.t(), bias, head.weight.t(), head.bias
            self._layouts[dtype] = tuple(part.detach().to(dtype).contiguous() for part in parts)  # type: ignore[assignment]
        return self._layouts[dtype]

    def refresh(self) -> None:
        """Forget weights laid out for speed; call it after changing M's weights."""
        self._layouts.clear()

    # --- between frames and latents ------------------------------------------------------------------

    @torch.no_grad()
    def encode(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Frames (B, 64, 64, 3) uint8 -> mean and log variance of their latents, (B, Z)."""
        dtype = compute_dtype(self.device)
        with torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32):
            mean, logvar = self.vision.encode(to_images(frames.to(self.device)))
        return mean.float(), logvar.float()

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, Z) -> frames (B, 64, 64, 3) uint8."""
        return to_frames(self.vision.decode(latents.to(self.device)))

    # --- what an agent sees --------------------------------------------------------------------------

    def observe(self, state: State, observation: str = "zh") -> Tensor:
        """Features (B, F): "zh", "zch" or "z" (the paper's C sees z and h, for Doom c too)."""
        assert observation in OBSERVATIONS
        parts = {"z": state.latents, "c": state.cell, "h": state.hidden}
        return torch.cat([parts[letter] for letter in observation], dim=1)
