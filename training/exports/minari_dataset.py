"""Episodes as a Minari dataset of pictures, as offline RL and `collect --from-minari` read it.

The observations are frames (64, 64, 3) uint8, stored without loss, the actions those of the game. A store holds one
step a tick and no frame after the last action, so the last frame stands twice at the end of an episode. A dream's
steps are those of its world, `frame_skip` ticks each, and its frames are V's decodings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from training.data.episode_store import Part, RolloutStore
from wm_envs.envs.dream import DreamEnv
from wm_envs.envs.spaces import action_kind, action_space
from wm_envs.games.base import FRAME_SHAPE, Array, Task
from wm_envs.worlds.bundle import load_controller

RANDOM = "random"  # the name of a player that needs no controller


@dataclass
class EpisodeSteps:
    """An episode of T steps, with the fields of Minari's buffer."""

    observations: list[Any]  # T + 1 frames
    actions: list[Any]
    rewards: list[float]
    terminations: list[bool]
    truncations: list[bool]


def write_dataset(folder: Path, task: Task, name: str, about: str, episodes: Iterator[EpisodeSteps]) -> None:
    """Write `folder`/data, a dataset with the id `name`."""
    import minari  # of the extra `minari`
    from minari.data_collector.episode_buffer import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    spaces = {
        "observation_space": gym.spaces.Box(0, 255, FRAME_SHAPE, np.uint8),
        "action_space": action_space(task, action_kind(task, None)),
    }
    storage = MinariStorage.new(folder / "data", **spaces, jpeg_encoding=False)
    storage.update_metadata({"dataset_id": name, "minari_version": minari.__version__, "description": about})
    for number, episode in enumerate(episodes):
        storage.update_episodes([EpisodeBuffer(id=number, **vars(episode))])


def of_store(store: RolloutStore, task: Task) -> Iterator[EpisodeSteps]:
    """Every episode of a store."""
    for part in store.parts:
        stops = np.cumsum(part.lengths)
        for start, stop, terminated in zip(stops - part.lengths, stops, part.terminated, strict=True):
            yield _of_part(part, int(start), int(stop), bool(terminated), task)


def _of_part(part: Part, start: int, stop: int, terminated: bool, task: Task) -> EpisodeSteps:
    frames = part.read(start, stop)
    rewards = np.ones(stop - start, np.float32) if part.rewards is None else part.rewards[start:stop]
    actions = _own_actions(part.actions[start:stop], task)
    return episode_steps([*frames, frames[-1]], list(actions), rewards.tolist(), terminated)


def of_dream(folder: Path, controller: str, episodes: int, temperature: float, seed: int) -> Iterator[EpisodeSteps]:
    """The same for dreams of the world in `folder`, played by one of its controllers or at `RANDOM`."""
    act = None if controller == RANDOM else load_controller(folder, controller)
    observation = act.config.observation if act else "z"
    env = DreamEnv(str(folder), temperature, observation, render_mode="rgb_array")
    env.action_space.seed(seed)
    try:
        for number in range(episodes):
            yield _dream(env, act, seed if number == 0 else None)
    finally:
        env.close()


def _dream(env: DreamEnv, act: Any, seed: int | None) -> EpisodeSteps:
    """One dream; `act` None plays at random."""
    import torch

    task = env.world.task
    seen, _ = env.reset(seed=seed)
    frames, actions, rewards, terminated, truncated = [env.render()], [], [], False, False
    while not (terminated or truncated):
        if act is None:
            action = env.action_space.sample()
        else:
            with torch.no_grad():
                action = _own_actions(act(torch.from_numpy(seen)).numpy(), task)
        seen, reward, terminated, truncated, _ = env.step(action)
        frames.append(env.render())
        actions.append(action)
        rewards.append(reward)
    return episode_steps(frames, actions, rewards, terminated)


def _own_actions(vectors: Array, task: Task) -> NDArray[Any]:
    """The actions (..., *shape) of the space that a dream has by default, of vectors (..., A)."""
    return vectors if task.actions.own is None else task.actions.own.decode(vectors)


def episode_steps(frames: list[Any], actions: list[Any], rewards: list[float], terminated: bool) -> EpisodeSteps:
    """The episode of T steps, with T + 1 frames."""
    running = [False] * (len(actions) - 1)
    return EpisodeSteps(frames, actions, rewards, [*running, terminated], [*running, not terminated])
