"""How fast the game and the learners are on this machine, measured in the first seconds of a run."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.acting.rollout import TILE
from training.data.sequences import Latents, Streams
from training.infra.run_folder import RunFolder
from training.judging.choices import DREAMS, Measured
from training.judging.motion import measure_motion, random_pieces
from training.learning.optim import generator
from training.pipeline.config import Run
from training.stages import memory, ppo, vision
from training.stages.memory import MemoryConfig
from training.stages.vision import VisionConfig
from wm_envs.envs.dreams import Dreams
from wm_envs.envs.latent_games import LatentGames
from wm_envs.games.base import FRAME_SHAPE, Game, Task
from wm_envs.hardware import best_device
from wm_envs.models.memory.registry import memory_kinds
from wm_envs.models.vision.base import Vision
from wm_envs.models.world_model import WorldConfig, WorldModel
from wm_envs.seeds import EXPERIMENTS
from wm_envs.worlds.bundle import save_world

SECONDS = 1.0  # of each measurement
MOTION_FRAMES = 400  # of random play


def measure(run: Run, task: Task) -> Measured:
    """Play the game for a few seconds, and train networks of the run's sizes on noise."""
    game = task.open()
    try:
        motion = measure_motion(random_pieces(game, task, itertools.count(EXPERIMENTS.start), MOTION_FRAMES))
        frames = _frames(game, task)
    finally:
        game.close()
    of_vision = vision.complete(run.vision, task)
    made = vision.build(of_vision)
    world, batches = _memory(made, memory.complete(run.memory, task, lambda: motion), task)
    images = torch.rand(256, 3, *FRAME_SHAPE[:2], device=best_device())
    dreams = _dreams(world, DREAMS)
    with tempfile.TemporaryDirectory() as folder:
        updates = _updates(world, run, Path(folder))
    return Measured(
        motion=motion,
        frames=frames,
        steps=_steps(world),
        encoded=256 * _rate(lambda: world.vision.encode(images)),
        vision=_vision(vision.build(of_vision), of_vision),
        memory=batches,
        updates=updates,
        dreams=_rate(dreams),
    )


def _rate(work: Callable[[], Any], seconds: float = SECONDS) -> float:
    """How often a second `work` is done, after a first time that does not count."""
    work()
    done, started = 0, time.monotonic()
    while (elapsed := time.monotonic() - started) < seconds:
        work()
        done += 1
    return done / elapsed


def _frames(game: Game, task: Task) -> float:
    seeds, frames, started = itertools.count(EXPERIMENTS.start + 500), 0, time.monotonic()
    while (elapsed := time.monotonic() - started) < 2 * SECONDS:
        frames += sum(len(piece) for piece in random_pieces(game, task, seeds, 50))
    return frames / elapsed


def _vision(made: Vision, config: VisionConfig) -> float:
    if not isinstance(config, vision.PixelVision):
        config = vision.PixelVision(batch_size=3 * config.batch_size)  # a batch of a VAE-GAN takes three times as long
    optimizer, draw = torch.optim.Adam(made.parameters(), fused=True), generator(0, 0)
    frames = np.random.default_rng(0).integers(256, size=(config.batch_size, *FRAME_SHAPE), dtype=np.uint8)
    config = config.replace(objects=0.0)
    return _rate(lambda: vision.train_batch(made, optimizer, (frames, frames), draw, config, 0.0, []))


def _memory(made: Vision, config: MemoryConfig, task: Task) -> tuple[WorldModel, float]:
    """A world with an untrained M, and the batches that M learns from a second."""
    assert isinstance(config.frame_skip, int)
    latents = _noise(made.config.latent, config, task)
    network = memory.network_config(task, latents, config)
    learner = memory_kinds().build(network).to(best_device())
    optimizer, draw = torch.optim.Adam(learner.parameters(), 1e-4, fused=True), generator(0, 0)
    streams = Streams(latents, config.batch_size, config.sequence_length, 0)
    state = learner.initial_state(config.batch_size)
    rate = _rate(lambda: memory.train_batch(learner, optimizer, streams.batch(0, draw), state))
    settings = WorldConfig(task=task.name, vision=made.config, memory=network, frame_skip=config.frame_skip)
    return WorldModel(settings, made, learner, latents.means[:64], latents.logvars[:64]), rate


def _noise(size: int, config: MemoryConfig, task: Task) -> Latents:
    """Latents that hold nothing."""
    assert isinstance(config.frame_skip, int)
    count, length, rng = 4_000, 200, np.random.default_rng(0)
    return Latents(
        means=torch.randn(count, size).half(),
        logvars=torch.full((count, size), -4.0).half(),
        actions=torch.zeros(count, task.actions.size),
        has_next=np.ones(count, bool),
        terminated=np.zeros(count, bool),
        starts=np.arange(0, count, length),
        lengths=np.full(count // length, length),
        frame_skip=config.frame_skip,
        noise=config.posterior_noise,
        rewards=None if task.rewards.survival else rng.normal(size=count).astype(np.float32),
        progress=np.zeros(count, np.float32) if config.progress else None,
    )


def _dreams(world: WorldModel, count: int) -> Callable[[], Any]:
    """One step of `count` dreams, and what a controller sees of them."""
    dreams = Dreams(world, count)
    dreams.seed(0)
    dreams.reset()
    actions = world.task.actions.to_game(np.array([world.task.actions.discrete[0]] * count, np.float32))

    def step() -> None:
        dreams.step(actions)
        dreams.observe("zh")

    return step


def _updates(world: WorldModel, run: Run, folder: Path) -> float:
    """Updates of PPO a second, in the dream of a world that is kept in `folder` for that."""
    command = ppo.Command(run=folder, task=world.task.name, round=0, config=run.ppo.replace(recorded_starts=0.0))
    place = RunFolder(folder).round(0)
    save_world(place.world, world)
    training = ppo.Training(place, command)
    training.prepare()
    return _rate(lambda: training.learner.learn(run.ppo.update_size, reset_num_timesteps=False), 2 * SECONDS)


def _steps(world: WorldModel) -> float:
    """Steps a second of games in a tile together, on one thread, as in a worker process."""
    task, threads = world.task, torch.get_num_threads()
    games = LatentGames(world, [task.open() for _ in range(TILE)])
    actions = task.actions.to_game(np.array([task.actions.discrete[-1]] * TILE, np.float32))
    torch.set_num_threads(1)
    try:
        games.reset(np.ones(TILE, bool), range(EXPERIMENTS.start, EXPERIMENTS.start + TILE))

        def step() -> None:
            games.step(actions)
            if not games.running.any():
                games.reset(np.ones(TILE, bool), range(EXPERIMENTS.start, EXPERIMENTS.start + TILE))

        return TILE * _rate(step, 2 * SECONDS)
    finally:
        torch.set_num_threads(threads)
        games.close()
