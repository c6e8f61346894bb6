"""Play a dream by keyboard, play the real game beside it, or record a GIF.

    python play.py                                   # a window, at the game's speed
    python play.py --world carracing --view both     # the real game and the dream, with the same actions
    python play.py --world runs/mine/round-1/world --temperature 1.3 --driver controller
    python play.py --headless --record recordings --steps 600

Keys: arrows, W/A/S/D or a gamepad move. [ and ] or the slider change the temperature. M switches between you, the
controller and random play, V between the dream, the game and both. Y sets the dream to the game's state. R starts a
new episode. P, space or . pauses. E takes one step. L opens the latent editor. G saves the last seconds. H shows the
help. Q or escape quits.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # keeps standard output clean for --json

import gymnasium as gym
import torch

import wm_envs  # noqa: F401 (registers the ids)
from wm_envs.errors import InvalidOption, MissingPackage, UnknownName, WorldModelError
from wm_envs.models.bundle import load_controller

try:
    import pygame

    from player.recorder import LastSeconds, Recorder
    from player.screen import Screen
except ImportError as _error:
    _missing: ImportError | None = _error
else:
    _missing = None
from player.player import DRIVERS, TEMPERATURES, VIEWS, Controller, Player
from player.views import GameView


def run(
    player: Player, screen: Screen, recorder: Recorder | None, last: LastSeconds | None, steps: int | None, window: bool
) -> None:
    """Play until the player quits or `steps` ticks have passed; at the game's speed only with a window."""
    clock = pygame.time.Clock()
    while not player.quitting and (steps is None or player.played < steps):
        for event in pygame.event.get() if window else ():
            screen.handle(event, player)
        player.tick()
        if recorder and not player.paused:
            recorder.add(screen, player)
        if last:
            if player.moving:
                last.add(screen, player)
            if player.saving:
                player.saving = False
                player.show_notice(_saved(last))
        if window:
            surface: Any = pygame.display.get_surface()  # changes when the window is resized
            surface.blit(screen.draw(player, surface.get_size()), (0, 0))
            pygame.display.flip()
            clock.tick(player.task.ticks_per_second)


def _saved(last: LastSeconds) -> str:
    try:
        return f"wrote {last.save()}"
    except (WorldModelError, OSError) as error:
        return f"not saved: {getattr(error, 'given', error)}"


# --- the command line ------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InvalidOption("command line", message, "the options of `python play.py --help`", "correct this option")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse and check the command line. Raises `InvalidOption`."""
    parser = _Parser(prog="play.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", default="takecover", help="name of a shipped world, or a world's folder (takecover)")
    parser.add_argument("--view", choices=VIEWS, default="dream", help="the dream, the real game, or both (dream)")
    parser.add_argument("--temperature", type=float, help="0.05 to 3; higher is harder (the world's default)")
    parser.add_argument(
        "--driver", choices=DRIVERS, help="what chooses the actions (you; headless: the controller if there is one)"
    )
    parser.add_argument("--seed", type=int, help="the same seed and actions give the same dream")
    parser.add_argument("--headless", action="store_true", help="record a GIF without a window")
    parser.add_argument("--record", metavar="DIR", help="write DIR/dream.gif (headless: recordings)")
    parser.add_argument("--steps", type=int, help="stop after this many ticks of the game (headless: 600)")
    parser.add_argument("--json", action="store_true", help="print the result as a last line of JSON")
    options = parser.parse_args(argv)
    low, high = TEMPERATURES
    if options.temperature is not None and not low <= options.temperature <= high:
        raise InvalidOption("temperature", options.temperature, f"a number from {low} to {high}", "try 1.0")
    if options.steps is not None and options.steps < 1:
        raise InvalidOption("steps", options.steps, "a whole number of at least 1", "try 600")
    if options.seed is not None and options.seed < 0:
        raise InvalidOption("seed", options.seed, "a whole number of at least 0", "try 0")
    if options.headless and options.driver == "you":
        raise InvalidOption("driver", "you", "controller or random with --headless", "omit --driver or --headless")
    return options


def find_controller(world: str, driver: str | None) -> Controller | None:
    """The world's first controller, or None if it has none. Raises `UnknownName` if `driver` needs one."""
    try:
        return load_controller(world)
    except UnknownName:
        if driver == "controller":
            raise
        return None


def play(options: argparse.Namespace) -> dict[str, Any]:
    """Play with these options; returns the result that --json prints."""
    if _missing is not None:
        name = _missing.name or "pygame"
        raise MissingPackage(name, "not installed", "the extra 'play'", "pip install 'wm-envs[play]'")
    env = gym.make("WMDream-v0", world=options.world, temperature=options.temperature, render_mode="rgb_array")
    player = None
    try:
        controller = find_controller(options.world, options.driver)
        screen = Screen()
        task = env.get_wrapper_attr("world").task
        window = not options.headless and screen.open(f"{task.title}: dream", 2 if options.view == "both" else 1)
        if not window and not options.headless:
            print("No display found: recording instead, as `python play.py --headless --record recordings` does.")
        steps = options.steps if window else options.steps or 600
        folder = options.record if window else options.record or "recordings"
        recorder = Recorder(Path(folder), steps) if folder is not None else None
        driver = options.driver or "you"
        if not window and driver == "you":  # there is no keyboard input
            driver = "controller" if controller else "random"
        player = Player(
            env, driver, controller, options.seed, 35 if window else 10, options.view, lambda: GameView(options.world)
        )
        last = LastSeconds(Path(folder or "recordings"), task.ticks_per_second) if window else None
        run(player, screen, recorder, last, steps, window)
        return report(player, recorder)
    finally:
        if player is not None:
            player.close()
        env.close()
        pygame.quit()


def report(player: Player, recorder: Recorder | None) -> dict[str, Any]:
    """Write the GIF, if one is recorded, and print and return the result."""
    scores = [round(score, 1) for score in player.scores]
    print(f"{player.played} ticks played; scores of finished episodes: {', '.join(map(str, scores)) or 'none'}")
    gif = recorder.save(player.task.ticks_per_second) if recorder and recorder.pictures else None
    if gif:
        print(f"wrote {gif} ({gif.stat().st_size / 1e6:.1f} MB)")
    return {"steps": player.played, "episodes": len(scores), "scores": scores, "gif": str(gif) if gif else None}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Exit code 0, or 2 for a user error, printed in one line."""
    try:
        options = parse(argv)
        result = play(options)
    except WorldModelError as error:
        print(f"play.py: {error}".replace("\n", " "), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    if options.json:
        print(json.dumps(result))
    return 0


def cli() -> NoReturn:
    """The command line."""
    torch.set_num_threads(1)  # one dream is too small for several threads
    sys.exit(main())


if __name__ == "__main__":
    cli()
