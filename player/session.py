"""A session: the start screen, the games that are played, their recording, and what is printed at the end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import pygame

from player.choices import Choice, check_choice
from player.difficulty import RisingTemperature
from player.latent_names import known_names
from player.player import Pace, Player
from player.recorder import LastSeconds, Recorder
from player.scores import BestScores, data_folder
from player.screen import Screen
from player.start_screen import StartScreen, card_of
from player.views import GameView
from wm_envs.errors import WorldModelError
from wm_envs.worlds.bundle import read_config, resolve, shipped_worlds

COUNTDOWN, END, REPLAY = 2.0, 3.0, 1.0  # seconds, with a window
HEADLESS_END = 10  # ticks for which a recording shows the end of a game


def run(
    player: Player, screen: Screen, recorder: Recorder | None, last: LastSeconds | None, steps: int | None, window: bool
) -> None:
    """Play until the player quits or `steps` ticks have passed; at the game's speed only with a window."""
    clock = pygame.time.Clock()
    while not player.quitting and (steps is None or player.played < steps):
        for event in pygame.event.get() if window else ():
            screen.handle(event, player)
        player.tick()
        if recorder and player.recordable:
            recorder.add(screen, player)
        if last:
            if player.moving and player.recordable:
                last.add(screen, player)
            if player.saving:
                player.saving = False
                player.show_notice(save_moment(last))
        if window:
            screen.show(player)
            clock.tick(player.task.timing.ticks_per_second)


def save_moment(last: LastSeconds) -> str:
    """Save the last seconds; returns what to tell."""
    if not last.frames:
        return "nothing to save yet"
    try:
        return f"wrote {last.save()}"
    except (WorldModelError, OSError) as error:
        return f"not saved: {getattr(error, 'given', error)}"


def bests_of(world: str, kept: bool) -> BestScores:
    """The best scores of a world; in memory only if they are not to be kept."""
    name = world if world in shipped_worlds() else str(resolve(world).resolve())
    return BestScores(data_folder() / "scores.json" if kept else None, name)


def open_player(
    choice: Choice, seed: int | None, window: bool, smooth: bool = False, save: str | None = None
) -> Player:
    """The player of a choice. Raises the errors of `check_choice`, and those of a game that does not open."""
    controllers = check_choice(choice)
    env = gym.make(
        "WMDream-v0", world=choice.world, temperature=choice.temperature, actions="continuous", render_mode="rgb_array"
    )
    try:
        world = env.get_wrapper_attr("world")
        ticks = world.task.timing.ticks_per_second
        pace = Pace(end=HEADLESS_END)
        if window:
            pace = Pace(round(COUNTDOWN * ticks), round(END * ticks), round(REPLAY * ticks), wait=True)
        rising = RisingTemperature(world.config.temperature) if window and choice.temperature is None else None
        player = Player(
            env, choice.driver, controllers, seed, choice.view, lambda: GameView(choice.world, save), pace, rising,
            bests_of(choice.world, kept=window), choice.controller, known_names(read_config(resolve(choice.world))),
        )  # fmt: skip
    except BaseException:
        env.close()
        raise
    player.smooth = smooth
    return player


class Session:
    """Plays choices one after the other; all of them go into one recording.

    `folder` is where recordings go. `kind` is their format. `steps` limits the ticks of the whole session. `save` is a
    run folder that keeps the episodes of the real game.
    """

    def __init__(
        self, screen: Screen, window: bool, folder: str | None, kind: str = "gif", steps: int | None = None,
        seed: int | None = None, smooth: bool = False, save: str | None = None,
    ) -> None:  # fmt: skip
        self.screen, self.window, self.steps, self.seed, self.smooth = screen, window, steps, seed, smooth
        self.save = save
        self.recorder = Recorder(Path(folder), steps, kind) if folder is not None else None
        self.moments, self.kind = Path(folder or "recordings"), kind
        self.played, self.scores, self.rate = 0, [0.0][:0], 0

    def play(self, choice: Choice) -> bool:
        """Play one choice; returns whether the player wants back to the start screen."""
        player = open_player(choice, self.seed, self.window, self.smooth, self.save)
        self.rate = self.rate or player.task.timing.ticks_per_second
        if self.window:
            pygame.display.set_caption(f"{player.task.title}: dream")
        last = LastSeconds(self.moments, player.task.timing.ticks_per_second, self.kind) if self.window else None
        left = None if self.steps is None else self.steps - self.played
        try:
            run(player, self.screen, self.recorder, last, left, self.window)
        finally:
            self.played += player.played
            self.scores += [round(score, 1) for score in player.scores]
            self.smooth = player.smooth
            player.close()
        return player.leaving

    def play_from_start_screen(self, choice: Choice) -> None:
        """Show the start screen before each game, until the player quits."""
        cards = [card_of(name) for name in shipped_worlds()]
        while True:
            bests = {card.name: bests_of(card.name, kept=True) for card in cards}
            start = StartScreen(self.screen.canvas, cards, choice, bests)
            while True:
                self._show(start)
                if start.quitting:
                    return
                choice = start.choice
                try:
                    again = self.play(choice)
                    break
                except WorldModelError as error:  # the game is not installed: choose another view
                    print(error)
                    start.problem, start.started = f"{error.given}. To get it: {error.fix}", False
            if not again:
                return
            choice = replace(choice, temperature=None)

    def _show(self, start: StartScreen) -> None:
        """Show the start screen until something is chosen."""
        clock = pygame.time.Clock()
        pygame.display.set_caption("World models")
        while not (start.started or start.quitting):
            for event in pygame.event.get():
                start.handle(event)
            surface: Any = pygame.display.get_surface()
            surface.blit(start.draw(surface.get_size()), (0, 0))
            pygame.display.flip()
            clock.tick(30)

    def finish(self) -> dict[str, Any]:
        """Write the recording, if there is one, and print and return the result."""
        print(f"{self.played} ticks played; scores of finished episodes: {', '.join(map(str, self.scores)) or 'none'}")
        path = self.recorder.save(self.rate) if self.recorder and self.recorder.pictures else None
        if path:
            print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")
        kind = path.suffix[1:] if path else "gif"
        result: dict[str, Any] = {"steps": self.played, "episodes": len(self.scores), "scores": self.scores}
        return result | {kind: str(path) if path else None}
