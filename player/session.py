"""A session: the start screen, the games that are played, their recording, and what is printed at the end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pygame

from player.commands import Commands
from player.controls import Controls
from player.hud import scene_of
from player.options import Options
from player.player import Player, open_player
from player.recordings import LastSeconds, Recorder
from player.screen import Screen
from player.start_screen import StartScreen, card_of
from wm_envs.errors import WorldModelError
from wm_envs.worlds.bundle import shipped_worlds


def save_moment(last: LastSeconds) -> str:
    """Save the last seconds; returns the text to show."""
    if not last.pictures:
        return "nothing to save yet"
    try:
        return f"wrote {last.save()}"
    except (WorldModelError, OSError) as error:
        return f"not saved: {getattr(error, 'given', error)}"


class Session:
    """Plays games one after the other; all of them go into one recording. `options` are complete."""

    def __init__(self, screen: Screen, window: bool, options: Options) -> None:
        self.screen, self.window, self.options = screen, window, options
        self.controls = Controls()
        folder = Path(options.record or "recordings")
        self.recorder = Recorder(folder, options.steps, options.format) if options.record else None
        self.moments = folder
        self.played, self.rate = 0, 0
        self.scores: list[float] = []

    def play(self, options: Options) -> bool:
        """Play with these options; returns whether the player wants back to the start screen."""
        player = open_player(options, self.window)
        rate = player.clock.ticks_per_second
        self.rate = self.rate or rate
        if self.window:
            pygame.display.set_caption(f"{player.views.dream.world.task.title}: dream")
        last = LastSeconds(self.moments, rate, options.format) if self.window else None
        try:
            self.run(player, last, None if options.steps is None else options.steps - self.played)
        finally:
            self.played += player.clock.played
            self.scores += [round(score, 1) for score in player.scoreboard.finished]
            self.options = replace(self.options, smooth="smooth" in player.settings)
            player.close()
        return "leave" in player.requests

    def run(self, player: Player, last: LastSeconds | None = None, steps: int | None = None) -> None:
        """Play until the player quits or `steps` ticks have passed; at the game's speed only with a window."""
        clock, commands = pygame.time.Clock(), Commands(player, self.screen.sliders)
        while not player.requests & {"quit", "leave"} and (steps is None or player.clock.played < steps):
            for event in pygame.event.get() if self.window else ():
                self.controls.handle(event, commands)
            player.tick()
            self._record(player, last)
            if self.window:
                self.screen.show(scene_of(player))
                clock.tick(player.clock.ticks_per_second)

    def _record(self, player: Player, last: LastSeconds | None) -> None:
        def draw(side: int) -> Any:
            return self.screen.draw_recording(scene_of(player), side)

        if self.recorder and player.recordable:
            self.recorder.add(draw)
        if last and player.recordable and not player.stopped:
            last.add(draw)
        if last and "save" in player.requests:
            player.requests.remove("save")
            player.show_notice(save_moment(last))

    def play_from_start_screen(self) -> None:
        """Show the start screen before each game, until the player quits."""
        start = StartScreen(self.screen.canvas, [card_of(name) for name in shipped_worlds()], self.options)
        while self._show(start):
            problem = ""
            try:
                if not self.play(replace(self.options, **start.choice)):
                    return
            except WorldModelError as error:  # the game is not installed: choose another view
                print(error)
                problem = f"{error.given}. To get it: {error.fix}"
            start.restart(problem)

    def _show(self, start: StartScreen) -> bool:
        """Show the start screen; returns whether a game was chosen."""
        clock = pygame.time.Clock()
        pygame.display.set_caption("World models")
        while not (start.started or start.quitting):
            for event in pygame.event.get():
                self.controls.handle(event, start)
            surface: Any = pygame.display.get_surface()
            surface.blit(start.draw(surface.get_size()), (0, 0))
            pygame.display.flip()
            clock.tick(30)
        return not start.quitting

    def finish(self) -> dict[str, Any]:
        """Write the recording, if there is one, and print and return the result."""
        print(f"{self.played} ticks played; scores of finished episodes: {', '.join(map(str, self.scores)) or 'none'}")
        path = self.recorder.save(self.rate) if self.recorder and self.recorder.pictures else None
        if path:
            print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")
        kind = path.suffix[1:] if path else "gif"
        result: dict[str, Any] = {"steps": self.played, "episodes": len(self.scores), "scores": self.scores}
        return result | {kind: str(path) if path else None}
