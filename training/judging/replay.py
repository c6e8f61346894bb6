"""M on one recorded episode, step by step: what it expected, and what it dreams further ahead with the same actions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.episode_store import Episode, Part
from wm_envs.models.state import Noise, State, joined
from wm_envs.models.vision.loss import kl_per_dimension
from wm_envs.models.world_model import WorldModel

MOST_PROBABLE = 1e-3  # a temperature at which M draws the component of the highest weight


class Watched(NamedTuple):
    """One episode of T steps of `frame_skip` ticks, as M sees it. What M expects of step t it says before that step."""

    ticks: NDArray[np.int64]  # (T,) first tick of each step
    frames: NDArray[np.uint8]  # (T, 64, 64, 3) at the start of each step
    latents: Tensor  # (T, Z) drawn from V's posterior
    actions: Tensor  # (T, A) mean of the step
    rewards: NDArray[np.float64]  # (T,) sum of the step: of the game, or the ticks survived
    terminated: bool  # the last step ended the game
    states: State  # (T dreams) before each step
    weights: Tensor  # (T, K, N) of M's mixture of each modelled dimension; N is 1 with one mixture for all
    expected: Tensor  # (T, Z) most probable latents after the step
    end: NDArray[np.float32]  # (T,) predicted probability that the step ends the game
    reward: NDArray[np.float32]  # (T,) predicted reward


def longest_episode(part: Part, ended: bool = False) -> int:
    """The number of the longest episode of a part; with `ended`, of those that the game ended, if there is one."""
    counts = part.terminated if ended and part.terminated.any() else np.ones_like(part.terminated)
    return int((part.lengths * counts).argmax())


def ticks_of(part: Part, number: int) -> tuple[int, int]:
    """The first tick of an episode in its part, and the one after its last."""
    stop = int(np.cumsum(part.lengths)[number])
    return stop - int(part.lengths[number]), stop


def read_episode(part: Part, number: int) -> Episode:
    """An episode from the store."""
    start, stop = ticks_of(part, number)
    return Episode(
        part.read(start, stop), part.actions[start:stop], bool(part.terminated[number]),
        None if part.rewards is None else part.rewards[start:stop],
        part.read_objects(start, stop) if part.has_objects else None,
    )  # fmt: skip


def watch(world: WorldModel, episode: Episode, seed: int = 0) -> Watched:
    """Show M an episode. The latents are drawn from V's posterior with `seed`, as in M's training."""
    starts = np.arange(0, len(episode.actions), world.config.frame_skip)
    sizes = np.diff([*starts, len(episode.actions)])
    actions = torch.from_numpy(np.add.reduceat(episode.actions, starts) / sizes[:, None]).float()
    frames = episode.frames[starts]
    mean, logvar = world.encode(torch.from_numpy(frames))
    normal = torch.randn(mean.shape, generator=torch.Generator().manual_seed(seed))
    latents = world.draw_latents(mean, logvar, normal)
    real = sizes.astype(float) if episode.rewards is None else np.add.reduceat(episode.rewards, starts, dtype=float)
    state, states, expected, weights, ends, rewards = world.state_from_latents(latents[:1]), [], [], [], [], []
    for step, action in enumerate(actions):
        states.append(state)
        following = latents[step + 1 : step + 2] if step + 1 < len(latents) else latents[step : step + 1]
        weights.append(world.memory.weights(world.predict(state, action[None])[0], following))
        after, outcome = world.step(state, action[None], most_probable(world, 1), torch.full((1, 1), MOST_PROBABLE))
        expected.append(after.latents)
        ends.append(float(outcome.termination_probability))
        rewards.append(world.expected_reward(outcome))
        state = world.next_state(state, following, after.recurrent, torch.from_numpy(real[step : step + 1]))
    return Watched(
        starts, frames, latents, actions, real, episode.terminated, joined(states), torch.cat(weights),
        torch.cat(expected), np.array(ends, np.float32), torch.cat(rewards).numpy(),
    )  # fmt: skip


def most_probable(world: WorldModel, batch: int) -> Noise:
    """Noise without noise: with `MOST_PROBABLE`, every latent is the mean of its most probable component."""
    zeros = torch.zeros(batch, world.config.memory.latent)
    return Noise(zeros + 0.5, zeros, torch.ones(batch))


def ahead(
    world: WorldModel, watched: Watched, moments: Tensor, steps: int, temperature: float, seed: int = 0
) -> Tensor:
    """Latents (N, Z) at the N `moments` of dreams that began `steps` steps earlier and took the recorded actions.

    One step ahead is M's most probable prediction; further ones are dreams at `temperature`.
    """
    begin = moments - steps
    if steps == 1:
        return watched.expected[begin]
    state, generator = watched.states.select(begin), torch.Generator().manual_seed(seed)
    for step in range(steps):
        noise = world.draw_noise(len(moments), generator)
        state, _ = world.step(state, watched.actions[begin + step], noise, torch.full((1, 1), temperature))
    return state.latents


def clearest_dimensions(world: WorldModel, frames: NDArray[np.uint8], count: int) -> list[int]:
    """The modelled latent dimensions with the highest mean KL in these frames, the highest first."""
    kl = kl_per_dimension(*world.encode(torch.from_numpy(frames))).mean(0)  # (Z,)
    return sorted(world.memory.modelled, key=lambda dimension: -float(kl[dimension]))[:count]
