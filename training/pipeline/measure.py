"""How fast the game and the learners are on this machine, measured in the first seconds of a run."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.acting.rollout import TILE, max_steps
from training.data.sequences import Latents, Streams
from training.judging.motion import Motion, measure_motion
from training.learning.optim import generator
from training.pipeline.config import Run
from training.stages import memory, vision
from training.stages.memory import MemoryConfig
from wm_envs.envs.dreams import Dreams
from wm_envs.envs.latent_games import LatentGames
from wm_envs.games.base import FRAME_SHAPE, Task
from wm_envs.models.memory.registry import memory_kinds
from wm_envs.models.vision.base import Vision
from wm_envs.models.world_model import WorldConfig, WorldModel
from wm_envs.seeds import EXPERIMENTS

SECONDS = 1.5  # of each measurement
FRAMES = 2_000  # of random play at most


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Speeds of one process, and what moves in the game."""

    motion: Motion
    frames: float  # of random play, a second
    steps: float  # of a controller in the game, on V and M, a second
    encoded: float  # frames that V encodes, a second
    vision: float  # batches a second
    memory: float  # batches a second
    updates: float  # of PPO in the dream, a second
    dream: float  # seconds in which 256 dreams last until the limit


def measure(run: Run, task: Task) -> Measured:
    """Play the game for a few seconds, and train networks of the run's sizes on noise."""
    game = task.open()
    try:
        started = time.monotonic()
        motion = measure_motion(game, task, itertools.count(EXPERIMENTS.start), 200)
        frames, began = 0, time.monotonic()
        while frames < FRAMES and time.monotonic() - began < 2 * SECONDS and time.monotonic() - started < 20:
            frames += _random_ticks(game, task, EXPERIMENTS.start + 50 + frames)
        of_game = frames / (time.monotonic() - began)
    finally:
        game.close()
    made = vision.build(run.vision, task)
    batches = _rate(lambda: _train_vision(made, run.vision))
    encoded = 256 * _rate(lambda: made.encode(torch.rand(256, 3, *FRAME_SHAPE[:2])))
    config = memory.complete(run.memory, task, motion)
    world, of_memory = _world(made, config, task)
    return Measured(
        motion=motion,
        frames=of_game,
        steps=_steps(world, task),
        encoded=encoded,
        vision=batches,
        memory=of_memory,
        updates=1 / _seconds_of_update(world, run),
        dream=max_steps(world) / _rate(_dreaming(world, 256)),
    )
