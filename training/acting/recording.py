"""Episodes for the store: random play, and the play of controllers that sometimes take random actions."""

from __future__ import annotations

from typing import Any, Self, cast

import numpy as np
import torch
from torch import Tensor

from training.acting.policies import Actor, ControllerPolicy, load_policy
from training.acting.rollout import max_steps, play, rollout
from training.data.episode_store import Episode
from wm_envs.envs.latent_games import LatentGames
from wm_envs.games.base import Array, Frame, Game, GameWithObjects, Keywords, Task, Tick
from wm_envs.games.random_play import held_actions
from wm_envs.models.controller import outputs, to_actions
from wm_envs.worlds.bundle import load_world

STRAY = (0.0, 0.0, 0.02, 0.05)  # probability per step that a controller's game starts to hold a random action


class EpisodeBuilder:
    """Records an episode tick by tick; with `objects`, a `GameWithObjects` says where they are."""

    def __init__(self, game: Game, task: Task, objects: bool) -> None:
        self.game, self.task, self.objects = game, task, objects
        self.frames: list[Frame] = []
        self.places: list[Any] = []  # (kinds, 64, 64) bool, of each frame
        self.actions: list[Array] = []
        self.rewards: list[float] = []
        self.terminated = False

    def see(self, frame: Frame) -> Self:
        """Add the first frame of the episode, or the next one."""
        self.frames.append(frame)
        if self.objects:
            self.places.append(cast(GameWithObjects, self.game).objects())
        return self

    def add(self, action: Array, tick: Tick) -> None:
        """Add the game's action (A,) and what follows it. The frame after the last tick is no part of an episode."""
        self.actions.append(action)
        self.rewards.append(tick.reward)
        self.terminated = tick.terminated
        if tick.frame is not None and not tick.truncated and len(self.actions) < self.task.timing.tick_limit:
            self.see(tick.frame)

    def build(self) -> Episode:
        """The episode."""
        rewards = None if self.task.rewards.survival else np.array(self.rewards, np.float32)
        places = np.stack(self.places) if self.objects else None
        return Episode(np.stack(self.frames), np.stack(self.actions), self.terminated, rewards, places)


def random_episode(game: Game, task: Task, seed: int, rng: np.random.Generator, objects: bool = False) -> Episode:
    """Play one episode at random, tick by tick."""
    builder = EpisodeBuilder(game, task, objects).see(game.reset(seed))
    for action, tick in play(game, task, held_actions(task, rng)):
        builder.add(action, tick)
    return builder.build()


def controller_episodes(
    folder: str, controller: str, seed: int, seeds: list[int], objects: bool = False, sampled: float = 0.0,
    number: int = 0,
) -> list[Episode]:  # fmt: skip
    """Play a controller of the world in `folder` on a tile of seeds: games `number`, `number` + 1 and so on.

    Of four games, two sometimes hold a random action for a while, so that M learns what follows from mistakes. A share
    `sampled` of the games draws its actions from the controller's probabilities; see `sampling`.
    """
    world, policy = load_world(folder), load_policy(folder, controller)
    opened = [world.task.open(**open_kwargs(objects)) for _ in seeds]
    builders = [EpisodeBuilder(game, world.task, objects) for game in opened]
    games = LatentGames(world, opened, lambda env, action, tick: builders[env].add(action, tick))
    try:
        games.reset(np.ones(len(seeds), bool), seeds)
        for builder, frame in zip(builders, games.frames(), strict=True):
            builder.see(frame)
        rngs = [np.random.default_rng((seed, each)) for each in seeds]
        actor = policy.actor(games, seeds)
        if sampled and policy.config.choices:
            actor = sampling(policy, [np.random.default_rng((seed, each, 1)) for each in seeds], sampled, number)
        rollout(games, *straying(actor, world.task, rngs, number), max_steps(world))
    finally:
        games.close()
    return [builder.build() for builder in builders]


def open_kwargs(objects: bool) -> Keywords:
    """The keywords of `Task.open`."""
    return {"objects": True} if objects else {}


def sampling(policy: ControllerPolicy, rngs: list[np.random.Generator], share: float, number: int = 0) -> Actor:
    """The actor of a controller with choices. In a share of the games it draws each action from the softmax of the
    scores, as PPO does in training (by the Gumbel-max trick); in the others it takes the best. Environment i is game
    `number` + i."""
    config, parameters = policy.config, torch.tensor(policy.parameters)
    drawn = np.diff(np.floor((number + np.arange(len(rngs) + 1)) * share)).astype(
        np.float32
    )  # 1: this environment draws

    def act(features: Tensor, envs: Tensor, step: int) -> Tensor:
        scores = outputs(config, parameters, features)
        noise = np.stack([rng.gumbel(size=scores.shape[-1]) for rng in rngs]) * drawn[:, None]
        return to_actions(config, scores + torch.from_numpy(noise.astype(np.float32))[envs])

    return Actor(act, config.observation)


def straying(actor: Actor, task: Task, rngs: list[np.random.Generator], number: int = 0) -> Actor:
    """An actor that now and then holds a random action for 1 to 15 steps, in game i with the chance STRAY[i] a step.
    Environment i is game `number` + i."""
    choices = torch.tensor(task.actions.discrete)
    holds: list[tuple[int, Tensor]] = [(0, choices[0]) for _ in rngs]

    def act(features: Tensor, envs: Tensor, step: int) -> Tensor:
        actions = actor.act(features, envs, step)
        for env, rng in enumerate(rngs):
            left, action = holds[env]
            if left == 0 and rng.random() < STRAY[(number + env) % len(STRAY)]:
                left, action = int(rng.integers(1, 16)), choices[rng.integers(len(choices))]
            if left > 0:
                actions[env] = action
            holds[env] = (max(0, left - 1), action)
        return actions

    return Actor(act, actor.observation)
