"""The player's logic: plays a dream, the real game, or both. It has no window and reads no keyboard."""

from __future__ import annotations

from collections.abc import Mapping

import gymnasium as gym
import numpy as np

from player.clock import Clock, Frames, Replay, RisingTemperature, Timing
from player.drivers import YOU, Driver
from player.latents import Editor, known_names
from player.options import TEMPERATURES, VIEWS, Options
from player.scores import Scoreboard, stored_bests
from player.views import GameView, Views
from wm_envs.errors import WorldModelError
from wm_envs.games.base import Keywords
from wm_envs.worlds.bundle import read_config, resolve

COUNTDOWN, END, REPLAY = 2.0, 3.0, 1.0  # seconds, with a window
HEADLESS_END = 10  # ticks for which a recording shows the end of a game
NOTICE_SECONDS = 4.0  # for which a notice is shown


SWITCHES = ("pause", "help", "smooth")  # commands that toggle one of `Player.settings`; smooth: scale pictures smoothly
REQUESTS = (
    "quit",
    "leave",
    "save",
)  # commands for the session; leave: back to the start screen, save: the last seconds


class Player:
    """Plays a dream, the real game, or both, one tick at a time.

    `rising` changes the temperature of a dream that you play, until you choose one. `names` say what the latent
    dimensions do, where it is known.
    """

    def __init__(
        self,
        views: Views,
        driver: Driver,
        timing: Timing | None = None,
        rising: RisingTemperature | None = None,
        scoreboard: Scoreboard | None = None,
        names: Mapping[int, str] | None = None,
        seed: int | None = None,
    ) -> None:
        self.views, self.driver, self.rising, self.names = views, driver, rising, names
        self.clock = Clock(timing or Timing(), views.dream.frame_skip, views.dream.ticks_per_second)
        self.scoreboard = scoreboard or Scoreboard()
        self.settings: set[str] = set()  # those of SWITCHES that are on
        self.requests: set[str] = set()  # those of REQUESTS that the session has to meet
        self.replay = Replay(self.clock.timing.replay)
        self.editor: Editor | None = None
        self.notice, self.notice_ticks = "", 0
        self.reset(seed)

    def reset(self, seed: int | None = None) -> None:
        """Start an episode."""
        self.views.reset(seed)
        self.clock.restart(countdown=self.driver.kind == YOU)
        self.scoreboard.start(self.driver.name)
        self.replay.ticks.clear()
        self.driver.restart()
        self._update_temperature()

    def close(self) -> None:
        """Close the environments."""
        self.views.close()

    # --- time -------------------------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether the episode has ended and its last tick is shown."""
        return bool(self.views.primary.ending) and self.clock.step_shown

    @property
    def stopped(self) -> bool:
        """Whether time stands still."""
        return bool(self.settings & {"pause", "help"}) or self.editor is not None

    @property
    def end_shown(self) -> bool:
        """Whether the end of the episode, with its replay, has been shown for long enough."""
        return self.over and self.clock.waited > max(self.clock.timing.end, self.replay.length)

    @property
    def recordable(self) -> bool:
        """Whether this tick belongs in a recording: not a pause, nor the wait for R."""
        return not ("pause" in self.settings or self.clock.countdown or self.end_shown)

    @property
    def seconds(self) -> float:
        """Seconds of the game up to the tick that is shown."""
        return self.clock.seconds(self.views.primary.ticks)

    def tick(self) -> None:
        """Advance by one tick of the game, unless stopped."""
        self.notice_ticks -= 1
        if self.stopped:
            return
        if self.clock.countdown:
            self.clock.countdown -= 1
        elif self.over:
            self.clock.waited += 1
            if self.end_shown and not (self.clock.timing.wait and self.driver.kind == YOU):
                self.reset()
        else:
            if self.clock.step_shown:
                self._step()
            self._show(1)

    def take_step(self) -> None:
        """Pause, and take one step of `frame_skip` ticks."""
        self.settings.add("pause")
        if self.views.primary.ending:
            self.reset()
        self.clock.countdown = 0
        self._step()
        self._show(self.clock.frame_skip)

    def _step(self) -> None:
        self._update_temperature()
        self.views.step(self.driver.action(self.views.primary.state))
        self.clock.phase = 0
        self.scoreboard.step(self.driver.name)
        if self.views.primary.ending:
            self._finish()

    def _show(self, ticks: int) -> None:
        """Show more ticks of the step."""
        self.clock.advance(ticks)
        if self.clock.step_shown:
            for view in self.views.visible:
                view.check_track()
        if self.clock.timing.replay:
            self.replay.ticks.append(self.frames())

    def _finish(self) -> None:
        primary, bests = self.views.primary, self.scoreboard.bests
        self.scoreboard.finish(primary.name, primary.total)
        if self.rising and self.driver.kind == YOU:
            self.rising.games += 1
        if bests.problem:
            self.show_notice(bests.problem)
            bests.problem = ""

    # --- temperature ------------------------------------------------------------------------------------

    @property
    def temperature(self) -> float:
        """Temperature of the dream's next step; a new value is clipped to TEMPERATURES and stays."""
        return float(self.views.dream.inner.temperature)

    @temperature.setter
    def temperature(self, value: float) -> None:
        self.rising = None
        # Rounding avoids values such as 1.0000000000000002 after twenty steps of 0.05.
        self.views.dream.inner.temperature = float(np.clip(round(value, 4), *TEMPERATURES))

    @property
    def temperature_fraction(self) -> float:
        """The temperature as a place within TEMPERATURES, 0 to 1."""
        low, high = TEMPERATURES
        return (self.temperature - low) / (high - low)

    @temperature_fraction.setter
    def temperature_fraction(self, fraction: float) -> None:
        low, high = TEMPERATURES
        self.temperature = low + (high - low) * fraction

    @property
    def temperature_rises(self) -> bool:
        """Whether the temperature rises. A dream beside the game keeps the world's own, and so does a controller's."""
        return self.rising is not None and self.views.shown == "dream" and self.driver.kind == YOU

    def _update_temperature(self) -> None:
        if self.rising:
            rising = self.temperature_rises
            self.views.dream.inner.temperature = self.rising.at(self.seconds) if rising else self.rising.full

    # --- what is shown ----------------------------------------------------------------------------------

    def frames(self) -> Frames:
        """Name and frame (64, 64, 3) uint8 of each view at this tick, of the slow replay, or of the editor."""
        if self.editor:
            return [("editor", self.editor.frame())]
        return self.replay.frames(self.clock.waited) if self.replayed else self.views.frames(self.clock.phase)

    @property
    def replayed(self) -> bool:
        """Whether the frames are those of the slow replay."""
        return self.over and self.clock.waited > 0 and self.replay.length > 0

    def next_view(self) -> None:
        """Show the next of VIEWS."""
        before, after = self.views.shown, VIEWS[(VIEWS.index(self.views.shown) + 1) % len(VIEWS)]
        try:
            self.views.show(after)
        except WorldModelError as error:
            self.show_notice(f"{error.given}. To get it: {error.fix}")
            print(error)  # a command in the window cannot be copied
            return
        self.replay.ticks.clear()
        if "dream" in (before, after):
            self.reset()
        elif after == "both":
            self.views.resynchronise()

    def show_notice(self, notice: str) -> None:
        """Show a line of text for NOTICE_SECONDS."""
        self.notice, self.notice_ticks = notice, round(NOTICE_SECONDS * self.clock.ticks_per_second)

    # --- the latent editor ------------------------------------------------------------------------------

    def toggle_editor(self) -> None:
        """Open the latent editor at the current latents, or close it."""
        state = self.views.primary.state
        self.editor = None if self.editor else Editor(self.views.dream.world, state.latents, self.names)

    def apply_editor(self) -> None:
        """Close the editor and set its latents in the dream; the game no longer counts as a best score."""
        assert self.editor is not None
        self.views.dream.set_latents(self.editor.latents)
        self.editor, self.clock.phase, self.scoreboard.eligible = None, self.clock.frame_skip, None
        self.show_notice("latents set in the dream")


def open_player(options: Options, window: bool) -> Player:
    """The player of complete options. Raises the errors of `Options.controllers`, and those of a game that fails."""
    name, controllers = options.world, options.controllers()
    keywords: Keywords = {"actions": "continuous", "render_mode": "rgb_array"}
    env = gym.make("WMDream-v0", world=name, temperature=options.temperature, **keywords)
    try:
        views = Views(env, options.view, lambda: GameView(name, options.save))
    except BaseException:
        env.close()
        raise
    world, ticks = views.dream.world, views.dream.ticks_per_second
    timing = Timing(end=HEADLESS_END)
    if window:
        timing = Timing(round(COUNTDOWN * ticks), round(END * ticks), round(REPLAY * ticks), wait=True)
    player = Player(
        views,
        Driver(world, options.driver, controllers, options.controller, options.seed),
        timing,
        RisingTemperature(world.config.temperature) if window and options.temperature is None else None,
        Scoreboard(stored_bests(name) if window else None),
        known_names(read_config(resolve(name))),
        options.seed,
    )
    player.settings |= {"smooth"} if options.smooth else set()
    return player
