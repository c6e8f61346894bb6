"""A ball and a paddle as a Gymnasium environment: the game of the tutorial "Your own game in an hour"."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

SIZE, PADDLE = 64, 8  # pixels: the picture, half the width of the paddle


class Paddle(gym.Env[Any, Any]):
    """Catch the ball with the paddle: 1 for each catch. A miss ends the episode."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)
        self.action_space = spaces.Discrete(3)  # stay, right, left

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Serve a ball."""
        super().reset(seed=seed)
        self.paddle = SIZE / 2
        self._serve()
        return self.render(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Move the paddle and the ball."""
        self.paddle = np.clip(self.paddle + (0, 3, -3)[int(action)], PADDLE, SIZE - PADDLE)
        self.ball += self.speed
        if not 2 <= self.ball[0] <= SIZE - 2:
            self.speed[0] *= -1
        caught = bool(self.ball[1] >= SIZE - 6 and abs(self.ball[0] - self.paddle) <= PADDLE + 2)
        missed = bool(self.ball[1] >= SIZE - 6 and not caught)
        if caught:
            self._serve()
        return self.render(), float(caught), missed, False, {}

    def _serve(self) -> None:
        self.ball = np.array([self.np_random.uniform(8, SIZE - 8), 4.0])
        self.speed = np.array([self.np_random.uniform(-2, 2), 2.0])

    def render(self) -> Any:
        """The picture, (64, 64, 3)."""
        picture = np.full((SIZE, SIZE, 3), 30, np.uint8)
        x, y = np.clip(self.ball, 2, SIZE - 3).astype(int)
        picture[y - 2 : y + 3, x - 2 : x + 3] = (250, 220, 80)
        left = int(self.paddle) - PADDLE
        picture[SIZE - 4 :, left : left + 2 * PADDLE] = (90, 170, 250)
        return picture


gym.register("Paddle-v0", Paddle, max_episode_steps=1000)
