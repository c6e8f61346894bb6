"""The games of `benchmarks.games`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from wm_envs.games.base import Task
from wm_envs.games.gym_env.describe import describe
from wm_envs.games.registry import get_task


@dataclass(frozen=True)
class Game:
    """A game of the benchmark."""

    env: str  # as `run --env` takes it
    tick_limit: int = 0  # 0: the limit that the environment has itself
    skip: int = 1  # ticks that PPO on the pixels holds an action; Atari's environments skip 4 frames themselves

    @property
    def words(self) -> list[str]:
        """The game as options of `run`."""
        return ["--env", self.env, *(["--tick-limit", str(self.tick_limit)] if self.tick_limit else [])]

    @cached_property
    def task(self) -> Task:
        """Its task; the environment is opened."""
        return get_task(describe(self.env, tick_limit=self.tick_limit).name)


ATARI_LIMIT = 1_000  # steps of 4 frames
GAMES = {
    "CartPole-v1": Game("CartPole-v1"),
    "Pendulum-v1": Game("Pendulum-v1"),
    "Acrobot-v1": Game("Acrobot-v1"),
    "MountainCar-v0": Game("MountainCar-v0"),
    "Paddle-v0": Game("examples.paddle:Paddle-v0"),
    "FlappyBird-v0": Game("flappy_bird_gymnasium:FlappyBird-v0"),
    "LunarLander-v3": Game("LunarLander-v3"),
    "ALE/Freeway-v5": Game("ALE/Freeway-v5", ATARI_LIMIT),
    "ALE/Pong-v5": Game("ALE/Pong-v5", ATARI_LIMIT),
    "ALE/Breakout-v5": Game("ALE/Breakout-v5", ATARI_LIMIT),
    "ALE/Boxing-v5": Game("ALE/Boxing-v5", ATARI_LIMIT),
    "MiniGrid-DoorKey-5x5-v0": Game("MiniGrid-DoorKey-5x5-v0"),
}
