"""Play a dream by keyboard, play the real game beside it, or record a film.

    python play.py                                   # a window with the start screen
    python play.py --world carracing --view both     # the real game and the dream, with the same actions
    python play.py --world carracing --controller careful
    python play.py --world runs/mine/round-1/world --temperature 1.3 --driver controller
    python play.py --headless --record recordings --steps 600

H shows the keys.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # keeps standard output clean for --json

try:
    import torch

    from player.install import install_command
    from wm_envs.errors import MissingPackage, WorldModelError

    _missing: ImportError | None = None
    try:
        import pygame
        import tyro

        from player.options import Options
        from player.screen import Screen
        from player.session import Session
        from wm_envs.cli import parse as read_options
    except ImportError as _error:
        _missing = _error
except KeyboardInterrupt:  # the imports take seconds
    sys.exit("play.py: interrupted")


def parse(words: Sequence[str]) -> Options:
    """The options of a command line. Raises `InvalidOption` and `UnknownName`; --help prints and exits."""
    single = tyro.conf.FlagCreatePairsOff  # --smooth without --no-smooth
    options = read_options("python play.py", __doc__ or "", Options(), words, single)
    options.check()
    return options


def play(options: Options) -> dict[str, Any]:
    """Play with these options; returns the result that --json prints."""
    options.complete(window=True)  # a wrong name is an error before a window opens
    try:
        screen = Screen()
        window = not options.headless and screen.open("World models", 2 if options.view == "both" else 1)
        if not window and not options.headless:
            print("No display found: recording instead, as `python play.py --headless --record recordings` does.")
        complete = options.complete(window)
        session = Session(screen, window, complete)
        try:
            if window and not options.world and options.steps is None:
                session.play_from_start_screen()
            else:
                session.play(complete)
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
        if _missing is not None:
            name = _missing.name or "pygame"
            raise MissingPackage(name, "not installed", "the extra 'play'", install_command("play"))
        options = parse(sys.argv[1:] if argv is None else argv)
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
