"""Small environments of Gymnasium for the tests of any environment; importing this registers them."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class Light(gym.Env[Any, Any]):
    """A light that moves sideways and pays its place; the episode ends at an edge."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None, fault: str = "", space: str = "discrete") -> None:
        self.render_mode, self.fault = render_mode, fault
        self.observation_space = spaces.Box(-1, 1, (2,), np.float32)
        self.action_space = {
            "discrete": spaces.Discrete(3, start=-1),
            "multi": spaces.MultiDiscrete([3, 2]),
            "binary": spaces.MultiBinary(2),
            "box": spaces.Box(np.array([-2, 0], np.float32), np.array([2, 1], np.float32)),
            "endless": spaces.Box(-np.inf, np.inf, (1,)),
            "dict": spaces.Dict({"a": spaces.Discrete(2)}),
        }[space]
        self.steps = self.resets = 0
        if fault == "make":
            raise RuntimeError("no such fault")

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if self.fault == "reset":
            raise RuntimeError("it fell over")
        self.place, self.steps, self.resets = int(self.np_random.integers(24, 40)), 0, self.resets + 1
        if self.fault == "seed":
            self.place = 24 + self.resets % 16  # another one at each reset, whatever the seed
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        self.steps += 1
        self.place += int(np.ravel(action)[0])
        if self.fault == "step" and self.steps > 3:
            raise RuntimeError("it fell over")
        reward = float("nan") if self.fault == "reward" else self.place / 64
        info = {"lives": 3 - self.steps // 4}
        return np.zeros(2, np.float32), reward, not 0 <= self.place < 64, False, info

    def render(self) -> Any:
        size = 80 + (self.steps if self.fault == "size" else 0)
        picture = np.zeros((size, 64, 3), np.uint8)
        picture[:, np.clip(self.place, 0, 63)] = 255
        return picture


class Grey(Light):
    """The same, observed as a stack of grey pictures."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.observation_space = spaces.Box(0, 255, (4, 64, 64), np.uint8)

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        return self._seen(), super().reset(**kwargs)[1]

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        _, *rest = super().step(action)
        return self._seen(), *rest  # type: ignore[return-value]

    def _seen(self) -> Any:
        stack = np.zeros((4, 64, 64), np.uint8)
        stack[-1, :, 5] = 200
        return stack


class Blind(Light):
    """The same without any picture."""

    metadata = {"render_modes": []}  # noqa: RUF012


class Short(Light):
    """The same, but it never terminates and truncates an episode itself after 30 steps, or after 20 to 30."""

    def __init__(self, varies: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.varies = varies

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        found = super().reset(**kwargs)
        self.limit = int(self.np_random.integers(20, 30)) if self.varies else 30
        return found

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, _, _, info = super().step(action)
        return observation, reward, False, self.steps >= self.limit, info


class Dull(Light):
    """The same, but nothing is paid, and no episode ends."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, _, _, _, info = super().step(action)
        return observation, 0.0, False, False, info


gym.register("ToyShort-v0", Short)
for _name, _class in (("Light", Light), ("Grey", Grey), ("Blind", Blind), ("Dull", Dull)):
    gym.register(f"Toy{_name}-v0", _class, max_episode_steps=50)
