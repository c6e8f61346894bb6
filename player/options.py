"""The options of the player: what is played, who is in control, and what is recorded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal, get_args

from tyro.conf import arg

from player.drivers import CONTROLLER, RANDOM, YOU, load_controllers
from wm_envs.errors import InvalidOption, UnknownName, did_you_mean
from wm_envs.models.controller import Controller

TEMPERATURES = (0.05, 3.0)
View = Literal["dream", "game", "both"]
VIEWS: tuple[View, ...] = get_args(View)
Format = Literal["gif", "mp4"]


@dataclass(frozen=True)
class Options:
    """The options of `play.py`."""

    world: Annotated[str, arg(metavar="WORLD", help_behavior_hint="")] = ""
    """name of a shipped world, or a world's folder (in a window: the start screen asks)"""
    view: View = "dream"
    """the dream, the real game, or both"""
    temperature: Annotated[float | None, arg(metavar="FLOAT", help_behavior_hint="")] = None
    """0.05 to 3; higher is harder (in a window: low at first, then rising)"""
    driver: Literal["auto", "you", "controller", "random"] = "auto"
    """what chooses the actions (auto: you; headless, or with --controller: a controller)"""
    controller: Annotated[str, arg(metavar="NAME", help_behavior_hint="")] = ""
    """a controller of the world, such as careful; it plays"""
    seed: Annotated[int | None, arg(metavar="INT", help_behavior_hint="")] = None
    """the same seed and actions give the same dream"""
    smooth: Annotated[bool, arg(help_behavior_hint="")] = False
    """scale the picture smoothly"""
    headless: Annotated[bool, arg(help_behavior_hint="")] = False
    """record without a window"""
    record: Annotated[str, arg(metavar="DIR", help_behavior_hint="")] = ""
    """write DIR/dream.gif or DIR/dream.mp4 (headless: recordings)"""
    save: Annotated[str, arg(metavar="RUN", help_behavior_hint="")] = ""
    """add your real episodes to the store of this run, as a round of its own"""
    format: Format = "gif"
    """of recordings"""
    steps: Annotated[int | None, arg(metavar="INT", help_behavior_hint="")] = None
    """stop after this many ticks of the game (headless: 600)"""
    json: Annotated[bool, arg(help_behavior_hint="")] = False
    """print the result as a last line of JSON"""

    def check(self) -> None:
        """Raise `InvalidOption` for a value out of range, or values that contradict each other."""
        low, high = TEMPERATURES
        if self.temperature is not None and not low <= self.temperature <= high:
            raise InvalidOption("temperature", self.temperature, f"a number from {low} to {high}", "try 1.0")
        if self.steps is not None and self.steps < 1:
            raise InvalidOption("steps", self.steps, "a whole number of at least 1", "try 600")
        if self.seed is not None and self.seed < 0:
            raise InvalidOption("seed", self.seed, "a whole number of at least 0", "try 0")
        if self.save and self.view == "dream":
            raise InvalidOption("save", self.save, "a view with the real game", "give --view game, or --view both")
        if self.headless and self.driver == YOU:
            fix = "omit --driver or --headless"
            raise InvalidOption("driver", self.driver, "controller or random with --headless", fix)
        if self.controller and self.driver in (YOU, RANDOM):
            fix = "omit --driver or --controller"
            raise InvalidOption("driver", self.driver, "controller, with --controller", fix)

    def controllers(self) -> dict[str, Controller]:
        """The world's controllers. Raises `UnknownName` for a wrong world or controller, and `BrokenWorld`."""
        controllers = load_controllers(self.world)
        if self.controller and self.controller not in controllers:
            expected = f"one of {list(controllers)}" if controllers else "none, as this world has no controller"
            fix = f"pass one of these names{did_you_mean(self.controller, controllers)}"
            raise UnknownName("controller", self.controller, expected, fix)
        if self.driver == CONTROLLER and not controllers:
            fix = "pass --driver you, or train a controller with `python -m training evolve`"
            raise UnknownName("controller", "none", f"a controller in {self.world}", fix)
        return controllers

    def complete(self, window: bool) -> Options:
        """These options with a world and a driver, and without a window a recording. Raises as `controllers`."""
        options = self if self.world else replace(self, world="takecover")
        controllers = options.controllers()
        if self.driver == "auto":
            without_window = CONTROLLER if controllers else RANDOM
            driver = CONTROLLER if self.controller else YOU if window else without_window
            options = replace(options, driver=driver)  # type: ignore[arg-type]
        return options if window else replace(options, record=self.record or "recordings", steps=self.steps or 600)
