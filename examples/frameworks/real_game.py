"""What all examples of frameworks end with: the policy plays the real Take Cover."""

from __future__ import annotations

from collections.abc import Callable

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

import wm_envs  # noqa: F401 (registers the ids)

FIRST_SEED = 100_000  # the seeds for choosing; those from 200,000 on are for a last test


def play(policy: Callable[[NDArray[np.float32]], NDArray[np.int64]], episodes: int, games: int = 8) -> NDArray:
    """Ticks survived (episodes,) by `policy`, which maps observations (B, 565) to discrete actions (B,)."""
    games = min(games, episodes)
    envs = gym.make_vec("WMTakeCover-v0", num_envs=games, actions="discrete", autoreset_mode="Disabled")
    ticks, episode, begun = np.zeros(episodes), np.arange(games), games  # `episode` is what each game plays
    observations, _ = envs.reset(seed=FIRST_SEED)
    while (episode < episodes).any():
        observations, rewards, terminated, truncated, _ = envs.step(policy(observations))
        counts = episode < episodes
        ticks[episode[counts]] += rewards[counts]
        over = terminated | truncated
        if over.any():  # a free game takes the next episode
            episode[over] = np.arange(begun, begun + over.sum())
            begun += over.sum()
            observations, _ = envs.reset(seed=(FIRST_SEED + episode).tolist(), options={"reset_mask": over})
    envs.close()
    return ticks


def report(policy: Callable[[NDArray[np.float32]], NDArray[np.int64]], episodes: int) -> None:
    """Play and print the score."""
    ticks = play(policy, episodes)
    deviation = ticks.std(ddof=min(1, episodes - 1))
    print(
        f"{ticks.mean():.0f} +- {deviation:.0f} ticks in {episodes} episodes of the real game "
        f"(mean +- standard deviation), 10th percentile {np.percentile(ticks, 10):.0f}"
    )
