"""PPO on the pixels of an environment, for comparison with a dream that was made from as many real frames.

    python -m experiments.pixel_ppo runs/paddle/best --frames 300000

Stable-Baselines3's PPO with its CnnPolicy (a stack of the last 4 frames of 64 x 64) learns in the world's real
game, frame by frame, and plays the test seeds of `evaluate`.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecMonitor

from experiments.scripts import run_script, script_parser
from training.judging.scoring import TEST_SEEDS, Score
from wm_envs.games.base import FRAME_SHAPE, Task
from wm_envs.games.registry import get_task
from wm_envs.seeds import GAME_TRAINING
from wm_envs.worlds.bundle import read_config, resolve

SEEDS = GAME_TRAINING[10_000_000]


class Pixels(gym.Env[Any, Any]):
    """The real game of a task: 64 x 64 frames, its discrete actions, its limit of ticks."""

    def __init__(self, task: Task, first_seed: int, skip: int) -> None:
        self.task, self.seed, self.skip = task, first_seed, skip
        self.game, self.choices = task.open(), np.array(task.actions.discrete, np.float32)
        self.observation_space = spaces.Box(0, 255, FRAME_SHAPE, np.uint8)
        self.action_space = spaces.Discrete(len(self.choices))

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.frame, self.ticks, self.seed = self.game.reset(self.seed), 0, self.seed + 1
        return self.frame, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        tick = self.game.advance(self.task.actions.to_game(self.choices[int(action)]), self.skip)
        self.ticks += tick.ticks
        self.frame = self.frame if tick.frame is None else tick.frame
        truncated = tick.truncated or self.ticks >= self.task.timing.tick_limit
        return self.frame, tick.reward, tick.terminated, truncated, {}


def main() -> None:
    parser = script_parser("pixel_ppo", __doc__)
    parser.add_argument("world", help="a shipped world's name or a folder")
    parser.add_argument("--frames", type=int, default=300_000)
    parser.add_argument("--episodes", type=int, default=100)
    given = parser.parse_args()
    torch.manual_seed(0)
    config = read_config(resolve(given.world))["world"]
    task, skip = get_task(config["task"]), config["frame_skip"]

    def stacked(first_seed: int, count: int) -> VecFrameStack:
        games = [lambda i=i: Pixels(task, first_seed + 1_000_000 * i, skip) for i in range(count)]
        return VecFrameStack(VecMonitor(DummyVecEnv(games)), 4)

    learner = PPO("CnnPolicy", stacked(SEEDS, 8), n_steps=128, batch_size=256, n_epochs=4, learning_rate=2.5e-4,
                  clip_range=0.1, ent_coef=0.01, seed=0, device="cpu")  # fmt: skip
    learner.learn(given.frames // skip)
    test = stacked(TEST_SEEDS, 1)
    observation, returns = test.reset(), []
    while len(returns) < given.episodes:
        action, _ = learner.predict(observation, deterministic=False)
        observation, _, _, infos = test.step(action)
        returns += [info["episode"]["r"] for info in infos if "episode" in info]
    score = Score.of(np.array(returns))
    print(f"{score.mean:.2f} +- {score.std:.2f} (+- {score.interval:.2f}) after {given.frames} frames")


if __name__ == "__main__":
    run_script(main)
