"""Views of the player: a dream or the real game, shown tick by tick, or both side by side."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from player.guides import guide_of
from player.install import game_fails
from player.saver import EpisodeSaver
from wm_envs.envs.real import RealEnv
from wm_envs.games.base import Array, Frame, Info, Options, Tick
from wm_envs.games.registry import get_task
from wm_envs.models.state import State
from wm_envs.models.world_model import WorldModel
from wm_envs.worlds.bundle import read_config, resolve

PLOTTED = 6  # seconds of `history`
SURPRISE_RANGE = 1.5  # nats per dimension above the typical surprise that fill a plot
UNIT_NORMAL = 1.42  # nats per dimension of a prediction that knows nothing: the entropy of a standard normal
DARK, MOSTLY = 30, 0.4  # a pixel is black below DARK of 255; a frame of more than MOSTLY black pixels is black


def danger_word(probability: float) -> str:
    """A word for M's probability that the episode ends with the next step."""
    limits = ((0.01, "low"), (0.1, "some"), (0.4, "high"))
    return next((word for limit, word in limits if probability < limit), "very high")


def surprise_words(surprise: float, typical: float) -> str:
    """Words for M's prediction error (nats per dimension), compared with its mean on held-out episodes."""
    limits = ((0.25, "the dream expected this"), (0.75, "a small surprise"))
    return next((words for limit, words in limits if surprise < typical + limit), "the dream was surprised")


class View(ABC):
    """One environment that is played. A step is `frame_skip` ticks; `frame(phase)` shows them one by one."""

    name = ""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self.env = env
        self.inner: Any = env.unwrapped
        self.world: WorldModel = env.get_wrapper_attr("world")
        self.frame_skip, timing = self.world.config.frame_skip, self.world.task.timing
        self.ticks_per_second = timing.ticks_per_second
        self.guide = guide_of(self.world.task)
        steps = PLOTTED * self.ticks_per_second // self.frame_skip
        self.history: deque[float] = deque(maxlen=max(steps, 2))  # danger or surprise of the last steps
        self._clear()

    def _clear(self) -> None:
        self.total = self.reward = 0.0
        self.ending = ""
        self.action: NDArray[np.float32] | None = None  # the agent's last action (A,)
        self.off_track_steps = 0  # steps in a row whose last frame shows no way back
        self.history.clear()

    @property
    def state(self) -> State:
        """The current State, a batch of one."""
        return self.inner.state

    @property
    def ticks(self) -> int:
        """Ticks since the start of the episode."""
        return int(self.state.ticks[0])

    def reset(self, seed: int | None = None, options: Options | None = None) -> None:
        """Start an episode."""
        self.env.reset(seed=seed, options=options)
        self._clear()

    def step(self, action: NDArray[np.float32]) -> Info:
        """One step with the agent's action (A,); returns its info. Does nothing once the episode has ended."""
        if self.ending:
            self.reward = 0.0
            return {}
        _, reward, terminated, truncated, info = self.env.step(action)
        self.action, self.reward = action, float(reward)
        self.total += self.reward
        if terminated or truncated:
            self.ending = self.guide.ending(self.reward) if terminated else self.guide.limit
        return info

    @property
    def instruments(self) -> dict[str, float]:
        """What the game itself shows beside its picture; a dream has no such thing."""
        return {}

    @property
    @abstractmethod
    def judgement(self) -> str:
        """The model's judgement of the moment, in words."""

    @property
    def history_range(self) -> tuple[float, float]:
        """The values of `history` at the bottom and at the top of a plot."""
        return 0.0, 1.0

    def check_track(self) -> None:
        """Note whether the last frame of the step shows a way back."""
        off_track = self.guide.off_track(self.frame(self.frame_skip))
        self.off_track_steps = self.off_track_steps + 1 if off_track else 0

    @property
    def off_track(self) -> bool:
        """Whether the frames of the last second showed no way back."""
        return self.off_track_steps * self.frame_skip >= self.ticks_per_second

    def score(self, phase: int) -> float:
        """The score after `phase` ticks of the step."""
        return self.total - self.reward * (1 - phase / self.frame_skip)

    @abstractmethod
    def frame(self, phase: int) -> NDArray[np.uint8]:
        """The frame (64, 64, 3) uint8 after `phase` ticks of the step, 0 to `frame_skip`."""


class DreamView(View):
    """The dream. A step of M covers several ticks; frames in between decode interpolated latents.

    The picture is therefore one step behind M's state.
    """

    name = "dream"

    def reset(self, seed: int | None = None, options: Options | None = None) -> None:
        """Start an episode, or continue from options["state"]."""
        super().reset(seed, options)
        self.before = self.after = self.state.latents
        self.termination_probability = 0.0
        self._decoded: tuple[torch.Tensor, int, NDArray[np.uint8]] | None = None  # latents, phase, frame
        self._bright: NDArray[np.uint8] | None = None  # the last frame that was not black

    def step(self, action: NDArray[np.float32]) -> Info:
        """One step of M."""
        self.before = self.after
        info = super().step(action)
        self.after = self.state.latents
        self.termination_probability = info.get("termination_probability", self.termination_probability)
        if info:
            self.history.append(self.termination_probability)
        return info

    @property
    def judgement(self) -> str:
        """How likely M thinks that the episode ends with the next step."""
        return "the dream has ended" if self.ending else f"danger: {danger_word(self.termination_probability)}"

    def set_latents(self, latents: torch.Tensor) -> None:
        """Replace the latents (1, Z) of the running dream. M's recurrent state stays the same."""
        score = self.total
        super().reset(None, {"state": self.state._replace(latents=latents)})  # a dream that has ended goes on
        self.total = score
        self.before = self.after = self.state.latents

    def frame(self, phase: int) -> NDArray[np.uint8]:
        """The decoded frame. It is cached, so that a paused or recorded dream is not decoded again."""
        if self._decoded is None or self._decoded[0] is not self.after or self._decoded[1] != phase:
            latents = torch.lerp(self.before, self.after, phase / self.frame_skip)
            self._decoded = self.after, phase, self._lit(self.world.decode(latents)[0].cpu().numpy())
        return self._decoded[2]

    def _lit(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The frame; at the end of an episode, the last one that was not black (a car leaves its field into black)."""
        if (frame.max(axis=-1) < DARK).mean() <= MOSTLY:
            self._bright = frame
        return frame if self._bright is None or not self.ending else self._bright


def _held_out_nll(world: str) -> float:
    """M's mean prediction error on held-out episodes, from the world's card, in nats per dimension."""
    memory = read_config(resolve(world))["card"].get("memory")
    nll = memory.get("nll") if isinstance(memory, dict) else None
    return float(nll) if isinstance(nll, int | float) else UNIT_NORMAL


class GameView(View):
    """The real game, with the frame of every tick, and M's prediction error (`surprise`).

    With `save`, a run folder, its episodes are saved there.
    """

    name = "game"

    def __init__(self, world: str, save: str = "") -> None:
        self.frames: list[NDArray[np.uint8]] = []
        self.saver: EpisodeSaver | None = None
        fastest = get_task(read_config(resolve(world))["world"]["task"]).fast_renderer
        shown = {"render_mode": "rgb_array", "renderer": fastest, "on_tick": self._on_tick}
        super().__init__(RealEnv(world, actions="continuous", **shown))  # type: ignore[arg-type]
        self.typical_surprise = _held_out_nll(world)
        if save:
            self.saver = EpisodeSaver(save, self.world.task)

    def _on_tick(self, env: int, action: Array, tick: Tick) -> None:
        if self.saver:
            self.saver.add(action, tick)
        if tick.frame is not None:
            self.frames.append(tick.frame.copy())

    def reset(self, seed: int | None = None, options: Options | None = None) -> None:
        """Start an episode; `options` are ignored."""
        super().reset(seed)
        self.frames = [np.asarray(self.env.render())]
        if self.saver:
            self.saver.begin(self.frames[0])
        self.surprise = 0.0  # -log p of the last step's latents, in nats per dimension

    def close(self) -> None:
        """Save the episode that is under way, if episodes are saved, and close the game."""
        if self.saver:
            self.saver.finish()
        self.env.close()

    @property
    def instruments(self) -> dict[str, float]:
        """The game's own instruments."""
        return self.inner.instruments

    @property
    def judgement(self) -> str:
        """How well M predicted what happened."""
        return surprise_words(self.surprise, self.typical_surprise)

    @property
    def history_range(self) -> tuple[float, float]:
        """Around the typical surprise."""
        return self.typical_surprise - 0.5, self.typical_surprise + SURPRISE_RANGE

    def step(self, action: NDArray[np.float32]) -> Info:
        """One step of the game."""
        self.frames = self.frames[-1:]
        info = super().step(action)
        if not self.ending:
            self.surprise = self.inner.surprise
            self.history.append(self.surprise)
        return info

    def frame(self, phase: int) -> NDArray[np.uint8]:
        """The game's frame."""
        return self.frames[min(phase, len(self.frames) - 1)]


class Views:
    """The dream, and the game once it is opened; `shown`, one of VIEWS, says which of them are visible.

    Beside the game, the dream starts from the game's state and gets the same actions, so the two can be compared.
    """

    def __init__(self, env: gym.Env[Any, Any], shown: str, open_game: Callable[[], GameView]) -> None:
        self.dream = DreamView(env)
        self.game: GameView | None = None
        self._open_game = open_game
        self.show(shown)

    def show(self, shown: str) -> None:
        """Show one of VIEWS. The game is opened when it is first needed; raises a `WorldModelError` if it fails."""
        if shown != "dream" and self.game is None:
            try:
                self.game = self._open_game()
            except Exception as error:  # also what a broken installation raises: the dream stays playable
                raise game_fails(self.dream.world.task, error) from error
        self.shown = shown

    @property
    def visible(self) -> list[View]:
        """The visible views, from left to right."""
        if self.game is None or self.shown == "dream":
            return [self.dream]
        return [self.game] if self.shown == "game" else [self.game, self.dream]

    @property
    def primary(self) -> View:
        """The view whose score and end count: the game if it is visible, else the dream."""
        return self.visible[0]

    def reset(self, seed: int | None = None) -> None:
        """Start an episode in every visible view."""
        self.primary.reset(seed)
        self.resynchronise(seed)

    def resynchronise(self, seed: int | None = None) -> None:
        """Set a dream beside the game to the game's state and score."""
        if self.game is not None and self.shown != "dream":
            self.dream.reset(seed, {"state": self.game.state})
            self.dream.total = self.game.total

    def step(self, action: NDArray[np.float32]) -> None:
        """One step of every visible view with the agent's action (A,)."""
        for view in self.visible:
            view.step(action)
        burn_in = self.dream.world.config.burn_in
        if burn_in <= self.primary.ticks < burn_in + self.dream.frame_skip:
            self.resynchronise()  # M cannot predict the frames of the burn-in

    def frames(self, phase: int) -> list[tuple[str, Frame]]:
        """Name and frame (64, 64, 3) uint8 of each visible view after `phase` ticks of the step."""
        return [(view.name, view.frame(phase)) for view in self.visible]

    def close(self) -> None:
        """Close the game, if there is one, and the dream."""
        if self.game is not None:
            self.game.close()
        self.dream.env.close()
