"""What is played: the world, who plays, the view and the temperature; checked, with "did you mean" for a wrong name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from player.drivers import DRIVERS, Controller, load_controllers
from player.player import TEMPERATURES, VIEWS
from wm_envs.errors import InvalidOption, UnknownName
from wm_envs.worlds.bundle import resolve, shipped_worlds


@dataclass(frozen=True)
class Choice:
    """What is played."""

    world: str = "takecover"  # a shipped name or a folder
    driver: str = "you"
    controller: str = ""  # a controller's name; "": the world's first
    view: str = "dream"
    temperature: float | None = None  # None: low at first, then rising, where you play; otherwise the world's own


def did_you_mean(given: str, names: Sequence[str]) -> str:
    """The fix for a wrong name: the closest of the names, if one is close."""
    close = difflib.get_close_matches(given.lower(), names, 1, 0.5)
    return f"did you mean {close[0]!r}? Pass one of these names" if close else "pass one of these names"


def check_name(field: str, given: str, names: Sequence[str]) -> None:
    """Raise `InvalidOption` unless `given` is one of the names."""
    if given not in names:
        raise InvalidOption(field, given, f"one of {list(names)}", did_you_mean(given, names))


def check_choice(choice: Choice) -> dict[str, Controller]:
    """The chosen world's controllers. Raises `UnknownName`, `InvalidOption` or `BrokenWorld` for a wrong choice."""
    check_name("view", choice.view, VIEWS)
    check_name("driver", choice.driver, DRIVERS)
    low, high = TEMPERATURES
    if choice.temperature is not None and not low <= choice.temperature <= high:
        raise InvalidOption("temperature", choice.temperature, f"a number from {low} to {high}", "try 1.0")
    check_world(choice.world)
    controllers = load_controllers(choice.world)
    if choice.controller and choice.controller not in controllers:
        expected = f"one of {list(controllers)}" if controllers else "none, as this world has no controller"
        raise UnknownName("controller", choice.controller, expected, did_you_mean(choice.controller, list(controllers)))
    if choice.driver == "controller" and not controllers:
        fix = "pass --driver you, or train a controller with `python -m training evolve`"
        raise UnknownName("controller", "none", f"a controller in {choice.world}", fix)
    return controllers


def check_world(world: str) -> Path:
    """The folder of a world. Raises `BrokenWorld`, or `UnknownName` with the closest name."""
    try:
        return resolve(world)
    except UnknownName as error:
        close = difflib.get_close_matches(world.lower(), shipped_worlds(), 1, 0.5)
        fix = f"did you mean {close[0]!r}? Otherwise {error.fix}" if close else error.fix
        raise UnknownName(error.field, error.given, error.expected, fix) from None
