"""A session: the start screen, the games that are played, their recording, and what is printed at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pygame

from player.choices import Choice
from player.commands import Commands
from player.controls import Controls
from player.hud import scene_of
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
    """Plays choices one after the other; all of them go into one recording.

    `folder` is where recordings go. `kind` is their format. `steps` limits the ticks of the whole session. `save` is a
    run folder that keeps the episodes of the real game.
    """

    def __init__(
        self,
        screen: Screen,
        window: bool,
        folder: str | None = None,
        kind: str = "gif",
        steps: int | None = None,
        seed: int | None = None,
        smooth: bool = False,
        save: str | None = None,
    ) -> None:
        self.screen, self.window, self.steps, self.seed, self.smooth = screen, window, steps, seed, smooth
        self.save = save
        self.controls = Controls()
        self.recorder = Recorder(Path(folder), steps, kind) if folder is not None else None
        self.moments, self.kind = Path(folder or "recordings"), kind
        self.played, self.scores, self.rate = 0, [0.0][:0], 0

    def play(self, choice: Choice) -> bool:
        """Play one choice; returns whether the player wants back to the start screen."""
        player = open_player(choice, self.seed, self.window, self.save)
        player.settings |= {"smooth"} if self.smooth else set()
        task = player.views.dream.world.task
        rate = task.timing.ticks_per_second
        self.rate = self.rate or rate
        if self.window:
            pygame.display.set_caption(f"{task.title}: dream")
        last = LastSeconds(self.moments, rate, self.kind) if self.window else None
        try:
            self.run(player, last, None if self.steps is None else self.steps - self.played)
        finally:
            self.played += player.clock.played
            self.scores += [round(score, 1) for score in player.scoreboard.finished]
            self.smooth = "smooth" in player.settings
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

    def play_from_start_screen(self, choice: Choice) -> None:
        """Show the start screen before each game, until the player quits."""
        start = StartScreen(self.screen.canvas, [card_of(name) for name in shipped_worlds()], choice)
        while self._show(start):
            problem = ""
            try:
                if not self.play(start.choice):
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
