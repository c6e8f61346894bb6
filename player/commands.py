"""The player's commands: what a key, a button or the mouse does. `controls.py` says which key gives which command."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from player.player import REQUESTS, SWITCHES, Player

TEMPERATURE_STEP = 0.05
BUTTONS = {"button 0": "up", "button 1": "down"}  # of a gamepad; the others pause


class Commands:
    """Carries out commands on a player. `sliders` are the areas that the mouse can drag, by name (see `Screen`)."""

    def __init__(self, player: Player, sliders: Mapping[str | int, Any] | None = None) -> None:
        self.player, self.sliders = player, {} if sliders is None else sliders

    def press(self, command: str) -> None:
        """A command begins."""
        player = self.player
        if command.startswith("button"):
            new_game = player.over and player.clock.timing.wait
            command = "enter" if new_game else BUTTONS.get(command, "pause")
        if player.editor and self._edit(command):
            return
        if player.driver.keys.press(command):
            return
        if command in SWITCHES:
            player.settings ^= {command}
        elif command in REQUESTS:
            player.requests.add(command)
        else:
            COMMANDS[command](player)

    def release(self, command: str) -> None:
        """A command ends: the key or button was released."""
        self.player.driver.keys.release(BUTTONS.get(command, command))

    def point(self, at: tuple[int, int], pressed: bool) -> None:
        """The mouse is at a point with a button held: `pressed` now, or dragged."""
        for name, area in self.sliders.items():
            if not area.collidepoint(at):
                continue
            fraction = (at[0] - area.left) / area.width
            if isinstance(name, int) and self.player.editor:
                self.player.editor.slide(name, fraction)
            elif name == "temperature":
                self.player.temperature_fraction = fraction

    def _edit(self, command: str) -> bool:
        """Carry out a command in the open editor; returns False for a command that is not the editor's."""
        editor = self.player.editor
        assert editor is not None
        if command in ("up", "down"):
            editor.move(-1 if command == "up" else 1)
        elif command in ("left", "right"):
            editor.turn(-1 if command == "left" else 1)
        elif command == "enter":
            self.player.apply_editor()
        else:
            return command == "step"  # no steps while the editor is open
        return True


def _enter(player: Player) -> None:
    if player.over:
        player.reset()


def _change_temperature(player: Player, by: float) -> None:
    player.temperature += by


def _controller(player: Player) -> None:
    """Give control to a controller; the first press takes the current one."""
    if player.driver.next_controller():
        player.show_notice(f"{player.driver.words} is in control")
    else:
        player.show_notice("this world has no controller")


def _synchronise(player: Player) -> None:
    player.views.resynchronise()
    both = player.views.shown == "both"
    player.show_notice("the dream is at the game's state" if both else "this needs the view 'both': press V")


COMMANDS: dict[str, Callable[[Player], None]] = {
    "cooler": lambda player: _change_temperature(player, -TEMPERATURE_STEP),
    "warmer": lambda player: _change_temperature(player, TEMPERATURE_STEP),
    "driver": lambda player: player.driver.next_kind(),
    "controller": _controller,
    "view": Player.next_view,
    "synchronise": _synchronise,
    "editor": Player.toggle_editor,
    "reset": Player.reset,
    "enter": _enter,
    "step": Player.take_step,
}
