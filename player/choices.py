"""What is played: the world, who is in control, the view and the temperature."""

from __future__ import annotations

from dataclasses import dataclass

from player.drivers import CONTROLLER, DRIVERS, load_controllers
from wm_envs.errors import InvalidOption, UnknownName, did_you_mean
from wm_envs.models.controller import Controller

TEMPERATURES = (0.05, 3.0)
VIEWS = ("dream", "game", "both")


@dataclass(frozen=True)
class Choice:
    """What is played."""

    world: str = "takecover"  # a shipped name or a folder
    driver: str = "you"
    controller: str = ""  # a controller's name; "": the world's first
    view: str = "dream"
    temperature: float | None = None  # None: low at first, then rising, where you play; otherwise the world's own


def check_name(field: str, given: str, names: tuple[str, ...]) -> None:
    """Raise `InvalidOption` unless `given` is one of the names."""
    if given not in names:
        raise InvalidOption(
            field, given, f"one of {list(names)}", f"pass one of these names{did_you_mean(given, names)}"
        )


def check_choice(choice: Choice) -> dict[str, Controller]:
    """The chosen world's controllers. Raises `UnknownName`, `InvalidOption` or `BrokenWorld` for a wrong choice."""
    check_name("view", choice.view, VIEWS)
    check_name("driver", choice.driver, DRIVERS)
    low, high = TEMPERATURES
    if choice.temperature is not None and not low <= choice.temperature <= high:
        raise InvalidOption("temperature", choice.temperature, f"a number from {low} to {high}", "try 1.0")
    controllers = load_controllers(choice.world)
    if choice.controller and choice.controller not in controllers:
        expected = f"one of {list(controllers)}" if controllers else "none, as this world has no controller"
        fix = f"pass one of these names{did_you_mean(choice.controller, controllers)}"
        raise UnknownName("controller", choice.controller, expected, fix)
    if choice.driver == CONTROLLER and not controllers:
        fix = "pass --driver you, or train a controller with `python -m training evolve`"
        raise UnknownName("controller", "none", f"a controller in {choice.world}", fix)
    return controllers
