"""PPO on the pixels of an environment, for comparison with a dream that was made from as many real frames.

    python -m experiments.pixel_ppo runs/paddle/best --frames 300000

Stable-Baselines3's PPO with its CnnPolicy (a stack of the last 4 frames of 64 x 64) learns in the world's real game,
frame by frame. The checkpoint that validates best plays the test seeds of `evaluate`.
"""

from __future__ import annotations

import io
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecFrameStack, VecMonitor, VecNormalize

from experiments.scripts import number_or_word, run_script, script_parser
from training.infra.pool import available_cores
from training.judging.scoring import TEST_SEEDS, VALIDATION_SEEDS, Score
from wm_envs.files import write_bytes
from wm_envs.games.base import FRAME_SHAPE
from wm_envs.games.registry import get_task
from wm_envs.seeds import GAME_TRAINING
from wm_envs.worlds.bundle import read_config, resolve

SEEDS = GAME_TRAINING[10_000_000:]
GAMES, STACK, GAMMA = 8, 4, 0.99
A_GAME, A_CHECKPOINT = 500_000, 10_000  # seeds
LEARNING_RATE, CLIP_RANGE = 2.5e-4, 0.1  # at the start: both fall to 0


class Pixels(gym.Env[Any, Any]):
    """The real game of a task: 64 x 64 frames, its discrete actions, its limit of ticks."""

    def __init__(self, task: str, skip: int) -> None:
        self.task, self.skip = get_task(task), skip
        self.game, self.choices = self.task.open(), np.array(self.task.actions.discrete, np.float32)
        self.observation_space = spaces.Box(0, 255, FRAME_SHAPE, np.uint8)
        self.action_space = spaces.Discrete(len(self.choices))

    def begin(self, seeds: range) -> None:
        """The seeds of the episodes that follow, over and over."""
        self.seeds: Iterator[int] = itertools.cycle(seeds)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.frame, self.ticks = self.game.reset(next(self.seeds)), 0
        return self.frame, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        tick = self.game.advance(self.task.actions.to_game(self.choices[int(action)]), self.skip)
        self.ticks += tick.ticks
        self.frame = self.frame if tick.frame is None else tick.frame
        truncated = tick.truncated or self.ticks >= self.task.timing.tick_limit
        return self.frame, tick.reward, tick.terminated, truncated, {}

    def close(self) -> None:
        self.game.close()


@dataclass(frozen=True, kw_only=True)
class PixelJob:
    """One training on the pixels of a game."""

    task: str  # its name
    frames: int  # ticks of the game
    skip: int = 1  # ticks that an action is held
    checkpoints: int = 10
    validate_episodes: int = 24  # of every checkpoint; they are not counted as frames
    episodes: int = 100  # on the test seeds
    seed: int = 0
    seeds: range = SEEDS  # of the episodes of training
    workers: int = 0  # 1: all games in this process, else each in one of its own


@dataclass(frozen=True, kw_only=True)
class PixelScore:
    """The score of the best checkpoint on the test seeds, and how it came about."""

    score: Score
    frames: int  # of training
    best: int  # frames until the best checkpoint
    deterministic: bool  # it plays its likeliest action, because that validated better than to draw one
    curve: tuple[tuple[int, float], ...]  # frames until a checkpoint, its mean score on the validation seeds
    minutes: float  # of training and validation
    frames_per_second: float  # of training, with its updates


class PixelTraining:
    """One training. With a `folder` it goes on from its last checkpoint."""

    def __init__(self, job: PixelJob, folder: Path | None = None) -> None:
        self.job, self.state = job, folder and folder / "pixels.pt"
        self.steps = max(1, job.frames // job.skip)
        torch.manual_seed(job.seed)
        make = [lambda: Pixels(job.task, job.skip)] * GAMES
        games = DummyVecEnv(make) if (job.workers or available_cores()) == 1 else SubprocVecEnv(make)
        # Rewards are divided by the spread of the returns, as on Procgen (Cobbe et al. 2020, arXiv 1912.01588).
        self.scaled = VecNormalize(VecMonitor(games), norm_obs=False, gamma=GAMMA)
        self._begin(job.seeds.start, 1)
        # The rest is what Schulman et al. 2017 (arXiv 1707.06347, table 5) and RL Baselines3 Zoo have for Atari.
        self.learner: Any = None  # the schedules are asked for while it is made
        self.learner = PPO(
            "CnnPolicy", VecFrameStack(self.scaled, STACK), n_steps=128, batch_size=256, n_epochs=4, gamma=GAMMA,
            learning_rate=lambda _: LEARNING_RATE * self._left(), clip_range=lambda _: CLIP_RANGE * self._left(),
            ent_coef=0.01, seed=job.seed, device="cpu",
        )  # fmt: skip
        self.curve: list[tuple[int, float]] = []
        self.best: dict[str, Any] = {}
        self.minutes, self.trained = 0.0, 0.0  # trained: minutes without validation

    def run(self) -> PixelScore:
        """Train, or go on, and play the test seeds."""
        self._load()
        for number in range(len(self.curve) + 1, self.job.checkpoints + 1):
            target = self.steps * number // self.job.checkpoints
            if target > self.learner.num_timesteps or not self.curve:
                self._train(number, target)
        self.learner.policy.load_state_dict(self.best)
        chosen = max(self.curve, key=lambda point: point[1])
        validated = self.play(VALIDATION_SEEDS, self.job.validate_episodes, deterministic=True).mean()
        greedy = bool(validated > chosen[1])
        returns = self.play(TEST_SEEDS, self.job.episodes, deterministic=greedy)
        self.learner.env.close()
        if self.state:
            self.state.unlink(missing_ok=True)
        frames = self.learner.num_timesteps * self.job.skip
        return PixelScore(
            score=Score.of(returns), frames=frames, best=chosen[0], deterministic=greedy, curve=tuple(self.curve),
            minutes=self.minutes, frames_per_second=frames / max(60 * self.trained, 1e-9),
        )  # fmt: skip

    def play(self, first_seed: int, episodes: int, deterministic: bool = False) -> NDArray[np.float64]:
        """The returns (episodes,) of the policy; every seed is played once, however long its episode is."""
        games, learner = self.learner.env, self.learner
        shares = [range(first_seed + number, first_seed + episodes, GAMES) for number in range(GAMES)]
        for number, seeds in enumerate(shares):
            games.env_method("begin", seeds or range(first_seed, first_seed + 1), indices=[number])
        self.scaled.training = False
        observation, returns = games.reset(), [[] for _ in shares]
        while any(len(done) < len(share) for done, share in zip(returns, shares, strict=True)):
            action, _ = learner.predict(observation, deterministic=deterministic)
            observation, _, _, infos = games.step(action)
            for number, info in enumerate(infos):
                if "episode" in info and len(returns[number]) < len(shares[number]):
                    returns[number].append(info["episode"]["r"])
        self.scaled.training = True
        return np.concatenate([np.array(each) for each in returns])

    def _train(self, number: int, target: int) -> None:
        """Train up to `target` steps, validate, and keep what is needed to go on."""
        started = time.monotonic()
        self._begin(self.job.seeds.start, number)
        self.learner._last_obs = None  # new episodes
        self.learner.learn(max(1, target - self.learner.num_timesteps), reset_num_timesteps=False)
        self.trained += (time.monotonic() - started) / 60
        mean = float(self.play(VALIDATION_SEEDS, self.job.validate_episodes).mean())
        if not self.curve or mean > max(score for _, score in self.curve):
            self.best = {name: value.clone() for name, value in self.learner.policy.state_dict().items()}
        self.curve.append((self.learner.num_timesteps * self.job.skip, mean))
        self.minutes += (time.monotonic() - started) / 60
        print(f"    {self.curve[-1][0]:,} frames: {mean:.2f} ({self.minutes:.1f} min)", flush=True)
        self._save()

    def _begin(self, first_seed: int, checkpoint: int) -> None:
        """Every game gets seeds of its own, others after each checkpoint."""
        for number in range(GAMES):
            first = first_seed + A_GAME * number + A_CHECKPOINT * checkpoint
            self.scaled.env_method("begin", range(first, first + A_CHECKPOINT), indices=[number])

    def _left(self) -> float:
        """The share of the training that is left; Stable-Baselines3 knows that of the current checkpoint only."""
        return max(0.0, 1 - self.learner.num_timesteps / self.steps) if self.learner else 1.0

    def _save(self) -> None:
        if not self.state:
            return
        returns = self.scaled.ret_rms
        kept = {
            "job": repr(self.job), "steps": self.learner.num_timesteps, "curve": self.curve, "best": self.best,
            "policy": self.learner.policy.state_dict(), "optimizer": self.learner.policy.optimizer.state_dict(),
            "returns": [float(returns.mean), float(returns.var), float(returns.count)],
            "minutes": self.minutes, "trained": self.trained,
        }  # fmt: skip
        buffer = io.BytesIO()
        torch.save(kept, buffer)
        self.state.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(self.state, buffer.getvalue())

    def _load(self) -> None:
        """Go on from the last checkpoint, if there is one of the same job."""
        if not self.state or not self.state.exists():
            return
        kept = torch.load(self.state, weights_only=True)
        if kept["job"] != repr(self.job):
            return
        self.learner.policy.load_state_dict(kept["policy"])
        self.learner.policy.optimizer.load_state_dict(kept["optimizer"])
        returns = self.scaled.ret_rms
        returns.mean, returns.var, returns.count = (np.float64(value) for value in kept["returns"])
        self.learner.num_timesteps, self.best = kept["steps"], kept["best"]
        self.curve = [(int(frames), float(mean)) for frames, mean in kept["curve"]]
        self.minutes, self.trained = kept["minutes"], kept["trained"]


def main() -> None:
    parser = script_parser("pixel_ppo", __doc__)
    parser.add_argument("world", help="a shipped world's name or a folder")
    parser.add_argument("--frames", type=int, default=300_000)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--checkpoints", type=int, default=10, help="how often it is validated")
    parser.add_argument("--workers", type=number_or_word, default="cores", help="1: all games in one process")
    given = parser.parse_args()
    config = read_config(resolve(given.world))["world"]
    job = PixelJob(
        task=config["task"], frames=given.frames, skip=config["frame_skip"], episodes=given.episodes,
        checkpoints=given.checkpoints, workers=0 if given.workers == "cores" else given.workers,
    )  # fmt: skip
    found = PixelTraining(job).run()
    print(f"{found.score} (+- {found.score.interval:.2f}) after {found.frames} frames")


if __name__ == "__main__":
    run_script(main)
