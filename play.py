"""Play a dream by keyboard, play the real game beside it, or record a film.

    python play.py                                   # a window with the start screen
    python play.py --world carracing --view both     # the real game and the dream, with the same actions
    python play.py --world carracing --controller careful
    python play.py --world runs/mine/round-1/world --temperature 1.3 --driver controller
    python play.py --headless --record recordings --steps 600

H shows the keys.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # keeps standard output clean for --json

try:
    import torch

    import wm_envs  # noqa: F401 (registers the ids)
    from player.choices import TEMPERATURES, VIEWS, Choice, check_choice, check_name
    from player.drivers import DRIVERS
    from player.install import install_command
    from wm_envs.errors import InvalidOption, MissingPackage, WorldModelError

    _missing: ImportError | None = None
    try:
        import pygame

        from player.recordings import FORMATS
        from player.screen import Screen
        from player.session import Session
    except ImportError as _error:
        _missing, FORMATS = _error, ("gif", "mp4")
except KeyboardInterrupt:  # the imports take seconds
    sys.exit("play.py: interrupted")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InvalidOption("command line", message, "the options of `python play.py --help`", "correct this option")


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = _Parser(prog="play.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = options.add_argument
    add("--world", help="name of a shipped world, or a world's folder (in a window: the start screen asks)")
    add("--view", metavar="{" + ",".join(VIEWS) + "}", help="the dream, the real game, or both (dream)")
    add("--temperature", type=float, help="0.05 to 3; higher is harder (in a window: low at first, then rising)")
    add("--driver", metavar="{" + ",".join(DRIVERS) + "}", help="what chooses the actions (you; headless: controller)")
    add("--controller", metavar="NAME", help="a controller of the world, such as careful; it plays")
    add("--seed", type=int, help="the same seed and actions give the same dream")
    add("--smooth", action="store_true", help="scale the picture smoothly")
    add("--headless", action="store_true", help="record without a window")
    add("--record", metavar="DIR", help="write DIR/dream.gif or DIR/dream.mp4 (headless: recordings)")
    add("--save", metavar="RUN", help="add your real episodes to the store of a run, as a round of its own")
    add("--format", default="gif", metavar="{" + ",".join(FORMATS) + "}", help="of recordings (gif)")
    add("--steps", type=int, help="stop after this many ticks of the game (headless: 600)")
    add("--json", action="store_true", help="print the result as a last line of JSON")
    return options


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse and check the command line. Raises `InvalidOption`."""
    options = parser().parse_args(argv)
    low, high = TEMPERATURES
    if options.temperature is not None and not low <= options.temperature <= high:
        raise InvalidOption("temperature", options.temperature, f"a number from {low} to {high}", "try 1.0")
    if options.steps is not None and options.steps < 1:
        raise InvalidOption("steps", options.steps, "a whole number of at least 1", "try 600")
    if options.seed is not None and options.seed < 0:
        raise InvalidOption("seed", options.seed, "a whole number of at least 0", "try 0")
    check_name("view", options.view or VIEWS[0], VIEWS)
    check_name("driver", options.driver or DRIVERS[0], DRIVERS)
    check_name("format", options.format, FORMATS)
    if options.save and options.view in (None, "dream"):
        raise InvalidOption("save", options.save, "a view with the real game", "give --view game, or --view both")
    if options.headless and options.driver == "you":
        raise InvalidOption("driver", "you", "controller or random with --headless", "omit --driver or --headless")
    if options.controller and options.driver not in (None, "controller"):
        raise InvalidOption("driver", options.driver, "controller, with --controller", "omit --driver or --controller")
    return options


def choice_of(options: argparse.Namespace, window: bool) -> Choice:
    """What the options choose; without a keyboard, the controller plays if there is one. Raises `UnknownName`."""
    driver = options.driver or ("controller" if options.controller else "you")
    choice = Choice(
        options.world or "takecover", driver, options.controller or "", options.view or "dream", options.temperature
    )
    controllers = check_choice(choice)
    if not window and driver == "you":
        driver = "controller" if controllers else "random"
    return Choice(choice.world, driver, choice.controller, choice.view, choice.temperature)


def play(options: argparse.Namespace) -> dict[str, Any]:
    """Play with these options; returns the result that --json prints."""
    if _missing is not None:
        name = _missing.name or "pygame"
        raise MissingPackage(name, "not installed", "the extra 'play'", install_command("play"))
    choice_of(options, window=True)  # a wrong name is an error before a window opens
    try:
        screen = Screen()
        window = not options.headless and screen.open("World models", 2 if options.view == "both" else 1)
        if not window and not options.headless:
            print("No display found: recording instead, as `python play.py --headless --record recordings` does.")
        steps = options.steps if window else options.steps or 600
        folder = options.record if window else options.record or "recordings"
        session = Session(screen, window, folder, options.format, steps, options.seed, options.smooth, options.save)
        try:
            if window and options.world is None and steps is None:
                session.play_from_start_screen(choice_of(options, window))
            else:
                session.play(choice_of(options, window))
        except BaseException:  # Ctrl-C, too: what was recorded is saved
            if session.played:
                session.finish()
            raise
        return session.finish()
    finally:
        pygame.quit()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Exit code 0, or 2 for a user error, printed in one line, or 130 for Ctrl-C."""
    try:
        options = parse(argv)
        result = play(options)
    except WorldModelError as error:
        print(f"play.py: {error}".replace("\n", " "), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("play.py: interrupted", file=sys.stderr)
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
