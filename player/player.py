"""The player's logic: plays a dream, the real game, or both. It has no window and reads no keyboard."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from player.latent_editor import STEP, Editor
from player.views import DreamView, GameView, View
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
    "M   you, controller, random",
    "V   dream, game, both",
    "Y   set the dream to the game's state",
    "R   new episode",
    "P  .  space   pause     E   one step",
    "L   latent editor",
    "G   save the last seconds",
    "H   this help     Q   quit",
)
EDITOR_HELP = "up/down select   left/right change   enter: apply   L: close"
NOTICE_TICKS = 105  # ticks for which a notice is shown

Controller = tuple[ControllerConfig, torch.Tensor]


class Player:
    """Plays a dream, the real game, or both, one tick at a time.

    Beside the game, the dream starts from the game's state and gets the same actions, so the two can be compared.
    `driver` chooses the actions: "you", "controller" or "random". The end of an episode is shown for `end_ticks` ticks.
    """

    def __init__(
        self, env: gym.Env[Any, Any], driver: str, controller: Controller | None, seed: int | None = None,
        end_ticks: int = 0, view: str = "dream", open_game: Callable[[], GameView] | None = None,
    ) -> None:  # fmt: skip
        self.dream, self.open_game = DreamView(env), open_game
        self.game: GameView | None = None
        self.driver, self.controller, self.end_ticks = driver, controller, end_ticks
        self.world: WorldModel = self.dream.world
        self.task = self.world.task
        self.skip: int = self.world.config.frame_skip
        self.random = np.random.default_rng(seed)
        self.held: list[str] = []  # directions held down; of two opposite ones, the last counts
        self.tapped: list[str] = []  # directions pressed since the last step, also those released again
        self.hold_left, self.random_action = 0, 0  # random play: steps left of the held action, and its index
        self.paused = self.help = self.quitting = self.saving = False
        self.editor: Editor | None = None
        self.notice, self.notice_ticks = "", 0
        self.played = 0
        self.scores: list[float] = []
        self.view = view
        if view != "dream":
            self.game = self._open_game()
        self.reset(seed)

    @property
    def views(self) -> list[View]:
        """The visible views, from left to right."""
        if self.game is None or self.view == "dream":
            return [self.dream]
        return [self.game] if self.view == "game" else [self.game, self.dream]

    @property
    def lead(self) -> View:
        """The view whose score and end count: the game if it is visible, else the dream."""
        return self.views[0]

    def reset(self, seed: int | None = None) -> None:
        """Start an episode."""
        if self.view == "dream":
            self.dream.reset(seed)
        else:
            self.lead.reset(seed)
            self.resynchronise(seed)
        self.phase = self.skip  # ticks of the current step that have been shown
        self.waited = 0  # ticks since the episode ended
        self.hold_left = 0

    def resynchronise(self, seed: int | None = None) -> None:
        """Set the dream to the game's state and score."""
        if self.game is not None and self.view != "dream":
            self.dream.reset(seed, {"state": self.game.state})
            self.dream.total = self.game.total

    def set_view(self, view: str) -> None:
        """Show one of VIEWS. The game is opened when it is first needed; raises `MissingPackage` or `InvalidOption`."""
        if view != "dream" and self.game is None:
            self.game = self._open_game()
        before, self.view = self.view, view
        if (before == "dream") != (view == "dream"):
            self.reset()
        elif view == "both":
            self.resynchronise()

    def _open_game(self) -> GameView:
        if self.open_game is None:
            raise InvalidOption("view", self.view, "dream, as there is no game to open", "pass open_game to Player")
        return self.open_game()

    @property
    def moving(self) -> bool:
        """Whether time passes: not paused, and neither the help nor the editor is open."""
        return not (self.paused or self.help or self.editor)

    @property
    def panels(self) -> int:
        """Number of panels side by side."""
        return 2 if self.editor else len(self.views)

    def tick(self) -> None:
        """Advance by one tick of the game, unless paused."""
        self.notice_ticks -= 1
        if not self.moving:
            return
        if self.lead.ending and self.phase == self.skip:
            self.waited += 1
            if self.waited > self.end_ticks:
                self.reset()
            return
        if self.phase == self.skip:
            self._step()
        self.phase += 1
        self.played += 1

    def _step(self) -> None:
        action, burn_in = self._choose(), self.world.config.burn_in
        for view in self.views:
            view.step(action)
        self.phase = 0
        if self.lead.ending:
            self.scores.append(self.lead.total)
        if burn_in <= int(self.lead.state.ticks[0]) < burn_in + self.skip:
            self.resynchronise()  # M cannot predict the frames of the burn-in

    def _choose(self) -> NDArray[np.float32]:
        """The agent's action for the next step, (A,)."""
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
        # Actions redrawn at every step would cancel out, so each is held as long as in the task's random play.
        if self.hold_left == 0:
            low, high = self.random.choice(self.task.hold_scales)
            self.hold_left = math.ceil(self.random.integers(low, high + 1) / self.skip)
            self.random_action = int(self.random.integers(len(self.task.discrete_actions)))
        self.hold_left -= 1
        return np.array(self.task.discrete_actions[self.random_action], np.float32)

    # --- commands ---------------------------------------------------------------------------------------

    @property
    def temperature(self) -> float:
        """Temperature of the dream's next step; a new value is clipped to TEMPERATURES."""
        return self.dream.inner.temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        # Rounding avoids values such as 1.0000000000000002 after twenty steps of 0.05.
        self.dream.inner.temperature = float(np.clip(round(value, 4), *TEMPERATURES))

    def press(self, command: str) -> None:
        """Handle a command of a key that was pressed; the names of commands are in `Screen.keys`."""
        if self.editor and self._edit(command):
            return
        if command in DIRECTIONS:
            self.tapped.append(command)
            self.held.append(command)
        elif command in ("cooler", "warmer"):
            self.temperature += TEMPERATURE_STEP if command == "warmer" else -TEMPERATURE_STEP
        elif command == "reset":
            self.reset()
        elif command == "driver":
            there = [driver for driver in DRIVERS if driver != "controller" or self.controller]
            self.driver = there[(there.index(self.driver) + 1) % len(there)]
        elif command == "view":
            self._next_view()
        elif command == "synchronise":
            self.resynchronise()
            both = self.view == "both"
            self.show_notice("the dream is at the game's state" if both else "this needs the view 'both': press V")
        elif command == "step":
            self._single_step()
        elif command == "editor":
            self.editor = None if self.editor else Editor(self.world, self.lead.state.latents)
        elif command != "enter":
            setattr(self, command, not getattr(self, command))  # paused, help, quitting, saving

    def release(self, command: str) -> None:
        """Handle a command of a key that was released."""
        if command in self.held:
            self.held.remove(command)

    def show_notice(self, notice: str) -> None:
        """Show a line of text for NOTICE_TICKS ticks."""
        self.notice, self.notice_ticks = notice, NOTICE_TICKS

    def _next_view(self) -> None:
        view = VIEWS[(VIEWS.index(self.view) + 1) % len(VIEWS)]
        try:
            self.set_view(view)
        except WorldModelError as error:
            self.show_notice(error.fix)

    def _single_step(self) -> None:
        """Pause, and take one step of `frame_skip` ticks."""
        self.paused = True
        if self.lead.ending:
            self.reset()
        self._step()
        self.played += self.skip
        self.phase = self.skip

    def _edit(self, command: str) -> bool:
        """Handle a command in the open editor; returns False for a command that is not the editor's."""
        assert self.editor is not None
        if command in ("up", "down"):
            self.editor.move(-1 if command == "up" else 1)
        elif command in ("left", "right"):
            self.editor.turn(-STEP if command == "left" else STEP)
        elif command == "enter":
            self.dream.set_latents(self.editor.latents)
            self.editor, self.phase = None, self.skip
            self.show_notice("latents set in the dream")
        else:
            return command == "step"  # no steps while the editor is open
        return True

    # --- display ----------------------------------------------------------------------------------------

    def frames(self) -> list[tuple[str, NDArray[np.uint8]]]:
        """Name and frame (64, 64, 3) uint8 of each view at this tick, or of the editor."""
        if self.editor:
            return [("editor", self.editor.frame())]
        return [(view.name, view.frame(self.phase)) for view in self.views]

    def hud(self) -> tuple[list[str], list[str]]:
        """Texts of the upper and the lower line."""
        ticks = int(self.lead.state.ticks[0]) - (self.skip - self.phase)
        seconds = max(ticks, 0) / self.task.ticks_per_second
        best = f"{max(self.scores):.0f}" if self.scores else "-"
        scores = " / ".join(f"{self._score(view):.0f}" for view in self.views)
        upper = [f"score {scores}", f"time {seconds:.1f} s", f"best {best}"]
        lower = [self.driver]
        if self.view != "game":
            lower = [f"temp {self.temperature:.2f}", f"end {self.dream.termination_probability:.1%}", *lower]
        if not self.task.survival:
            lower.append(f"reward {self.lead.reward:+.1f}")
        if self.game is not None and self.view != "dream":
            lower.append(f"surprise {self.game.surprise:.2f}")
        return upper, lower

    def _score(self, view: View) -> float:
        """The score up to the tick that is shown."""
        return view.total - view.reward * (1 - self.phase / self.skip)

    def message(self) -> list[str]:
        """Lines of text for the middle of the picture."""
        if self.help:
            return list(HELP)
        if self.notice_ticks > 0:
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
