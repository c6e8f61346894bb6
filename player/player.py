"""A player of a dream, of the real game, or of both side by side; knows nothing of windows and keyboards."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from player.latent_editor import STEP, Editor
from player.views import Dream, Game, Side
from wm_envs.errors import InvalidOption, WorldModelError
from wm_envs.models.controller import ControllerConfig, act
from wm_envs.models.world_model import WorldModel

TEMPERATURES = (0.05, 3.0)
TEMPERATURE_STEP = 0.05
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, 1), "down": (0, -1)}  # right, up
DRIVERS = ("you", "controller", "random")
VIEWS = ("dream", "game", "both")
HELP = (
    "arrows, W/A/S/D, gamepad   move",
    "[   ]   temperature",
    "M   who drives",
    "V   dream, game, both",
    "Y   dream on from the game",
    "R   new episode",
    "P  .  space   pause     E   one step",
    "L   latent editor",
    "G   save the last seconds",
    "H   this help     Q   quit",
)
EDITOR_HELP = "up/down choose   left/right turn   enter: into the dream   L: close"
TOLD = 105  # ticks that a notice stays

Controller = tuple[ControllerConfig, torch.Tensor]


class Player:
    """Plays one tick of the game at a time.

    With a game, the dream can be started from the game's own state, and is given the same actions: one sees where
    they part. `rest` ticks are spent looking at an episode's end.
    """

    def __init__(
        self, env: gym.Env[Any, Any], driver: str, controller: Controller | None, seed: int | None = None,
        rest: int = 0, view: str = "dream", open_game: Callable[[], Game] | None = None,
    ) -> None:  # fmt: skip
        self.dream, self.open_game = Dream(env), open_game
        self.game: Game | None = None
        self.driver, self.controller, self.rest = driver, controller, rest
        self.world: WorldModel = self.dream.world
        self.task = self.world.task
        self.skip: int = self.world.config.frame_skip
        self.random = np.random.default_rng(seed)
        self.held: list[str] = []  # directions now held down; of left and right, and of up and down, the last counts
        self.tapped: list[str] = []  # a key may go down and up again between two steps: it still counts
        self.hold, self.action = 0, 0  # of random play: steps left, and what it does meanwhile
        self.paused = self.help = self.quitting = self.saving = False
        self.editor: Editor | None = None
        self.notice, self.told = "", 0
        self.played = 0
        self.scores: list[float] = []
        self.view = view
        if view != "dream":
            self.game = self._opened()
        self.begin(seed)

    @property
    def sides(self) -> list[Side]:
        """What is seen, from left to right."""
        if self.game is None or self.view == "dream":
            return [self.dream]
        return [self.game] if self.view == "game" else [self.game, self.dream]

    @property
    def lead(self) -> Side:
        """The side whose score and end count: the game, where it is played."""
        return self.sides[0]

    def begin(self, seed: int | None = None) -> None:
        """Begin an episode."""
        if self.view == "dream":
            self.dream.begin(seed)
        else:
            self.lead.begin(seed)
            self.resynchronise(seed)
        self.phase = self.skip  # ticks of the current step that have been shown
        self.waited = 0
        self.hold = 0

    def resynchronise(self, seed: int | None = None) -> None:
        """Let the dream go on from where the game is."""
        if self.game is not None and self.view != "dream":
            self.dream.begin(seed, {"state": self.game.state})
            self.dream.total = self.game.total

    def look(self, view: str) -> None:
        """See the dream, the game or both; the game is opened when it is first wanted. Raises `MissingPackage`."""
        if view != "dream" and self.game is None:
            self.game = self._opened()
        before, self.view = self.view, view
        if (before == "dream") != (view == "dream"):
            self.begin()
        elif view == "both":
            self.resynchronise()

    def _opened(self) -> Game:
        if self.open_game is None:
            raise InvalidOption("view", "game", "a game to open", "give the player one")
        return self.open_game()

    @property
    def moving(self) -> bool:
        """Whether time passes."""
        return not (self.paused or self.help or self.editor)

    @property
    def panels(self) -> int:
        """How many pictures are side by side."""
        return 2 if self.editor else len(self.sides)

    def tick(self) -> None:
        """Let one tick of the game pass."""
        self.told -= 1
        if not self.moving:
            return
        if self.lead.ending and self.phase == self.skip:
            self.waited += 1
            if self.waited > self.rest:
                self.begin()
            return
        if self.phase == self.skip:
            self._step()
        self.phase += 1
        self.played += 1

    def _step(self) -> None:
        action, burn_in = self._choose(), self.world.config.burn_in
        for side in self.sides:
            side.step(action)
        self.phase = 0
        if self.lead.ending:
            self.scores.append(self.lead.total)
        if burn_in <= int(self.lead.state.ticks[0]) < burn_in + self.skip:
            self.resynchronise()  # before that no dream could know what comes into view

    def _choose(self) -> NDArray[np.float32]:
        """The driver's action for the next step, (A,)."""
        pressed, self.tapped = [*self.tapped, *self.held], []
        if self.driver == "controller" and self.controller:
            config, parameters = self.controller
            features = self.world.observe(self.lead.state, config.observation).cpu()
            return act(config, parameters, features)[0].numpy()
        if self.driver == "random":
            return self._choose_at_random()
        steps = np.array([(0, 0), *(DIRECTIONS[key] for key in pressed)])
        right, up = (int(axis[np.flatnonzero(axis)[-1]]) if axis.any() else 0 for axis in steps.T)
        return np.array(self.task.keyboard_action(right, up), np.float32)

    def _choose_at_random(self) -> NDArray[np.float32]:
        # An action redrawn at every step would cancel itself out: hold it as long as the task's random play does.
        if self.hold == 0:
            low, high = self.random.choice(self.task.hold_scales)
            self.hold = math.ceil(self.random.integers(low, high + 1) / self.skip)
            self.action = int(self.random.integers(len(self.task.discrete_actions)))
        self.hold -= 1
        return np.array(self.task.discrete_actions[self.action], np.float32)

    # --- commands ---------------------------------------------------------------------------------------

    @property
    def temperature(self) -> float:
        """Of the dream, from the next step on; clipped to TEMPERATURES."""
        return self.dream.inner.temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        # Rounded, so that twenty steps of 0.05 are 1 and not 1.0000000000000002.
        self.dream.inner.temperature = float(np.clip(round(value, 4), *TEMPERATURES))

    def press(self, command: str) -> None:
        """A key with a meaning went down."""
        if self.editor and self._edit(command):
            return
        if command in DIRECTIONS:
            self.tapped.append(command)
            self.held.append(command)
        elif command in ("cooler", "warmer"):
            self.temperature += TEMPERATURE_STEP if command == "warmer" else -TEMPERATURE_STEP
        elif command == "reset":
            self.begin()
        elif command == "driver":
            there = [driver for driver in DRIVERS if driver != "controller" or self.controller]
            self.driver = there[(there.index(self.driver) + 1) % len(there)]
        elif command == "view":
            self._look_on()
        elif command == "synchronise":
            self.resynchronise()
            self.tell(
                "the dream goes on from the game" if self.view == "both" else "nothing to dream on from: see both"
            )
        elif command == "step":
            self._step_alone()
        elif command == "editor":
            self.editor = None if self.editor else Editor(self.world, self.lead.state.latents)
        elif command != "enter":
            setattr(self, command, not getattr(self, command))  # paused, help, quitting, saving

    def release(self, command: str) -> None:
        """A key with a meaning went up."""
        if command in self.held:
            self.held.remove(command)

    def tell(self, notice: str) -> None:
        """Show a line for a while."""
        self.notice, self.told = notice, TOLD

    def _look_on(self) -> None:
        view = VIEWS[(VIEWS.index(self.view) + 1) % len(VIEWS)]
        try:
            self.look(view)
        except WorldModelError as error:
            self.tell(error.fix)

    def _step_alone(self) -> None:
        """One whole step, paused before and after."""
        self.paused = True
        if self.lead.ending:
            self.begin()
        self._step()
        self.played += self.skip
        self.phase = self.skip

    def _edit(self, command: str) -> bool:
        """What a command means to the open editor; whether it means anything."""
        assert self.editor is not None
        if command in ("up", "down"):
            self.editor.move(-1 if command == "up" else 1)
        elif command in ("left", "right"):
            self.editor.turn(-STEP if command == "left" else STEP)
        elif command == "enter":
            self.dream.put(self.editor.latents)
            self.editor, self.phase = None, self.skip
            self.tell("set into the dream")
        else:
            return command == "step"  # time stands still
        return True

    # --- what is seen -----------------------------------------------------------------------------------

    def frames(self) -> list[tuple[str, NDArray[np.uint8]]]:
        """Name and picture (64, 64, 3) of each side at this tick, or of the editor."""
        if self.editor:
            return [("editor", self.editor.frame())]
        return [(side.name, side.frame(self.phase)) for side in self.sides]

    def hud(self) -> tuple[list[str], list[str]]:
        """Words for the upper and the lower line."""
        ticks = int(self.lead.state.ticks[0]) - (self.skip - self.phase)
        seconds = max(ticks, 0) / self.task.ticks_per_second
        best = f"{max(self.scores):.0f}" if self.scores else "-"
        scores = " / ".join(f"{self._score(side):.0f}" for side in self.sides)
        upper = [f"score {scores}", f"time {seconds:.1f} s", f"best {best}"]
        lower = [self.driver]
        if self.view != "game":
            lower = [f"temp {self.temperature:.2f}", f"end {self.dream.termination_probability:.1%}", *lower]
        if not self.task.survival:
            lower.append(f"reward {self.lead.reward:+.1f}")
        if self.game is not None and self.view != "dream":
            lower.append(f"surprise {self.game.surprise:.2f}")
        return upper, lower

    def _score(self, side: Side) -> float:
        """As far as it has been shown."""
        return side.total - side.reward * (1 - self.phase / self.skip)

    def message(self) -> list[str]:
        """Lines for the middle of the picture."""
        if self.help:
            return list(HELP)
        if self.told > 0:
            return [self.notice]
        if self.editor:
            return []
        if self.paused:
            return ["paused"]
        if self.lead.ending and self.phase == self.skip:
            return [self.lead.ending, f"score {self.lead.total:.0f}"]
        return []

    def close(self) -> None:
        """Close the game, if there is one, and the dream."""
        if self.game is not None:
            self.game.env.close()
        self.dream.env.close()
