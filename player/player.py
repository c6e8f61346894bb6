"""The player's logic: plays a dream, the real game, or both. It has no window and reads no keyboard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from player.difficulty import RisingTemperature
from player.drivers import Controller, Keys, RandomPlay
from player.game_opening import game_fails
from player.latent_editor import Editor
from player.replay import Frames, Replay
from player.scores import BestScores
from player.views import DreamView, GameView, View
from wm_envs.errors import InvalidOption
from wm_envs.models.controller import act
from wm_envs.models.world_model import WorldModel

TEMPERATURES = (0.05, 3.0)
VIEWS = ("dream", "game", "both")
NOTICE_SECONDS = 4.0  # for which a notice is shown


@dataclass(frozen=True)
class Pace:
    """What happens around a game, in ticks; with a window it is slower than in a recording."""

    countdown: int = 0  # before a game
    end: int = 0  # for which the end of a game is shown
    replay: int = 0  # of the slow replay at the end, at the game's speed
    wait: bool = False  # after a game of yours, wait for R


class Player:
    """Plays a dream, the real game, or both, one tick at a time.

    Beside the game, the dream starts from the game's state and gets the same actions, so the two can be compared.
    `driver` chooses the actions: "you", "controller" (the one named `controller`) or "random". `rising` changes the
    temperature of a dream that you play, until you choose one.
    """

    def __init__(
        self, env: gym.Env[Any, Any], driver: str, controllers: Mapping[str, Controller] | None = None,
        seed: int | None = None, view: str = "dream", open_game: Callable[[], GameView] | None = None,
        pace: Pace | None = None, rising: RisingTemperature | None = None, bests: BestScores | None = None,
        controller: str = "", names: Mapping[int, str] | None = None,
    ) -> None:  # fmt: skip
        self.dream, self.open_game = DreamView(env), open_game
        self.game: GameView | None = None
        self.controllers = dict(controllers or {})
        self.driver, self.controller = driver, controller or next(iter(self.controllers), "")
        self.pace, self.rising = pace or Pace(), rising
        self.bests = bests or BestScores(None, "")
        self.world: WorldModel = self.dream.world
        self.task = self.world.task
        self.guide = self.dream.guide
        self.skip: int = self.world.config.frame_skip
        self.keys, self.random_play = Keys(), RandomPlay(self.task, self.skip, seed)
        self.paused = self.help = self.quitting = self.leaving = self.saving = self.smooth = False
        self.editor: Editor | None = None
        self.names = names or {}  # what the latent dimensions do, where it is known
        self.notice, self.notice_ticks = "", 0
        self.played = 0
        self.scores: list[float] = []
        self.replay = Replay(self.pace.replay)
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
    def panels(self) -> int:
        """Number of pictures side by side."""
        return 2 if self.editor else len(self.views)

    @property
    def lead(self) -> View:
        """The view whose score and end count: the game if it is visible, else the dream."""
        return self.views[0]

    @property
    def name(self) -> str:
        """Who plays: YOU, the controller's name, or "random"."""
        return self.controller if self.driver == "controller" else self.driver

    def reset(self, seed: int | None = None) -> None:
        """Start an episode."""
        if self.view == "dream":
            self.dream.reset(seed)
        else:
            self.lead.reset(seed)
            self.resynchronise(seed)
        self.phase = self.skip  # ticks of the current step that have been shown
        self.waited = 0  # ticks since the episode ended
        self.countdown = self.pace.countdown if self.driver == "you" else 0
        self.fair: str | None = self.name  # who has played the whole episode; None if it does not count
        self.new_best = False
        self.replay.clear()
        self.random_play.restart()
        self._warm()

    def resynchronise(self, seed: int | None = None) -> None:
        """Set the dream to the game's state and score."""
        if self.game is not None and self.view != "dream":
            self.dream.reset(seed, {"state": self.game.state})
            self.dream.total = self.game.total

    def set_view(self, view: str) -> None:
        """Show one of VIEWS. The game is opened when it is first needed; raises a `WorldModelError` if it fails."""
        if view != "dream" and self.game is None:
            self.game = self._open_game()
        before, self.view = self.view, view
        self.replay.clear()
        if (before == "dream") != (view == "dream"):
            self.reset()
        elif view == "both":
            self.resynchronise()

    def _open_game(self) -> GameView:
        if self.open_game is None:
            raise InvalidOption("view", self.view, "dream, as there is no game to open", "pass open_game to Player")
        try:
            return self.open_game()
        except Exception as error:  # also what a broken installation raises: the dream stays playable
            raise game_fails(self.task, error) from error

    # --- time -------------------------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether the episode has ended and its last tick is shown."""
        return bool(self.lead.ending) and self.phase == self.skip

    @property
    def moving(self) -> bool:
        """Whether the game goes on: not paused, no help, no editor, no countdown."""
        return not (self.paused or self.help or self.editor or self.countdown)

    @property
    def recordable(self) -> bool:
        """Whether this tick belongs in a recording: not a pause, nor the wait for R."""
        still = self.paused or self.countdown or (self.over and self.waited > max(self.pace.end, self.replay.length))
        return not still

    def tick(self) -> None:
        """Advance by one tick of the game, unless paused."""
        self.notice_ticks -= 1
        if self.countdown and not (self.paused or self.help or self.editor):
            self.countdown -= 1
            return
        if not self.moving:
            return
        if self.over:
            self.waited += 1
            shown = self.waited > max(self.pace.end, self.replay.length)
            if shown and not (self.pace.wait and self.driver == "you"):
                self.reset()
            return
        if self.phase == self.skip:
            self._step()
        self.phase += 1
        self.played += 1
        self._keep()

    def take_step(self) -> None:
        """Pause, and take one step of `frame_skip` ticks."""
        self.paused = True
        if self.lead.ending:
            self.reset()
        self.countdown = 0
        self._step()
        self.played += self.skip
        self.phase = self.skip
        self._keep()

    def _keep(self) -> None:
        if self.phase == self.skip:
            for view in self.views:
                view.look()
        if self.pace.replay:
            self.replay.add(self.frames())

    def _step(self) -> None:
        self._warm()
        action, burn_in = self._choose(), self.world.config.burn_in
        for view in self.views:
            view.step(action)
        self.phase = 0
        if self.fair != self.name:
            self.fair = None
        if self.lead.ending:
            self._finish()
        if burn_in <= int(self.lead.state.ticks[0]) < burn_in + self.skip:
            self.resynchronise()  # M cannot predict the frames of the burn-in

    def _finish(self) -> None:
        self.scores.append(self.lead.total)
        if self.rising and self.driver == "you":
            self.rising.games += 1
        if self.fair not in (None, "random"):
            self.new_best = self.bests.add(str(self.fair), self.lead.name, self.lead.total)
        if self.bests.problem:
            self.show_notice(self.bests.problem)
            self.bests.problem = ""

    def _warm(self) -> None:
        """Set the rising temperature. A dream beside the game keeps the world's own, and so does a controller's."""
        if self.rising:
            gentle = self.view == "dream" and self.driver == "you"
            self.dream.inner.temperature = self.rising.at(self.seconds) if gentle else self.rising.full

    def _choose(self) -> NDArray[np.float32]:
        """The agent's action for the next step, (A,)."""
        action = self.keys.action(self.task)
        if self.driver == "controller" and self.controller:
            config, parameters = self.controllers[self.controller]
            features = self.world.observe(self.lead.state, config.observation).cpu()
            return act(config, parameters, features)[0].numpy()
        return self.random_play.action() if self.driver == "random" else action

    # --- settings ---------------------------------------------------------------------------------------

    @property
    def temperature(self) -> float:
        """Temperature of the dream's next step; a new value is clipped to TEMPERATURES and stays."""
        return self.dream.inner.temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        self.rising = None
        # Rounding avoids values such as 1.0000000000000002 after twenty steps of 0.05.
        self.dream.inner.temperature = float(np.clip(round(value, 4), *TEMPERATURES))

    def show_notice(self, notice: str) -> None:
        """Show a line of text for NOTICE_SECONDS."""
        self.notice, self.notice_ticks = notice, round(NOTICE_SECONDS * self.task.timing.ticks_per_second)

    # --- display ----------------------------------------------------------------------------------------

    @property
    def seconds(self) -> float:
        """Seconds of the game up to the tick that is shown."""
        ticks = int(self.lead.state.ticks[0]) - (self.skip - self.phase)
        return max(ticks, 0) / self.task.timing.ticks_per_second

    def score(self, view: View) -> float:
        """The score of a view up to the tick that is shown."""
        return view.total - view.reward * (1 - self.phase / self.skip)

    def frames(self) -> Frames:
        """Name and frame (64, 64, 3) uint8 of each view at this tick, of the slow replay, or of the editor."""
        if self.editor:
            return [("editor", self.editor.frame())]
        replayed = self.replay.frames(self.waited) if self.over and self.waited else None
        return replayed or [(view.name, view.frame(self.phase)) for view in self.views]

    def close(self) -> None:
        """Close the game, if there is one, and the dream."""
        if self.game is not None:
            self.game.close()
        self.dream.env.close()
