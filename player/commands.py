"""The player's commands: what a key, a button or the mouse does. `controls.py` says which key gives which command."""

from __future__ import annotations

from collections.abc import Callable

from player.drivers import DIGITS, DIRECTIONS, DRIVERS
from player.latent_editor import STEP, Editor
from player.player import VIEWS, Player
from wm_envs.errors import WorldModelError

TEMPERATURE_STEP = 0.05


def press(player: Player, command: str) -> None:
    """Handle a command that begins."""
    if player.editor and _edit(player, player.editor, command):
        return
    if command in DIRECTIONS or command in DIGITS:
        player.keys.press(command)
    elif command in SWITCHES:
        setattr(player, command, not getattr(player, command))
    else:
        COMMANDS[command](player)


def release(player: Player, command: str) -> None:
    """Handle a command that ends: the key was released."""
    player.keys.release(command)


def _cooler(player: Player) -> None:
    player.temperature -= TEMPERATURE_STEP


def _warmer(player: Player) -> None:
    player.temperature += TEMPERATURE_STEP


def _leave(player: Player) -> None:
    player.leaving = player.quitting = True


def _enter(player: Player) -> None:
    if player.over:
        player.reset()


def _driver(player: Player) -> None:
    there = [driver for driver in DRIVERS if driver != "controller" or player.controllers]
    player.driver = there[(there.index(player.driver) + 1) % len(there)]


def _controller(player: Player) -> None:
    """Let the next controller play; the first press takes the current one."""
    names = list(player.controllers)
    if not names:
        player.show_notice("this world has no controller")
        return
    if player.driver == "controller":
        player.controller = names[(names.index(player.controller) + 1) % len(names)]
    player.driver = "controller"
    player.show_notice(f"the controller '{player.controller}' plays")


def _view(player: Player) -> None:
    try:
        player.set_view(VIEWS[(VIEWS.index(player.view) + 1) % len(VIEWS)])
    except WorldModelError as error:
        player.show_notice(f"{error.given}. To get it: {error.fix}")
        print(error)  # a command in the window cannot be copied


def _synchronise(player: Player) -> None:
    player.resynchronise()
    both = player.view == "both"
    player.show_notice("the dream is at the game's state" if both else "this needs the view 'both': press V")


def _editor(player: Player) -> None:
    player.editor = None if player.editor else Editor(player.world, player.lead.state.latents, player.names)


def _edit(player: Player, editor: Editor, command: str) -> bool:
    """Handle a command in the open editor; returns False for a command that is not the editor's."""
    if command in ("up", "down"):
        editor.move(-1 if command == "up" else 1)
    elif command in ("left", "right"):
        editor.turn(-STEP if command == "left" else STEP)
    elif command == "enter":
        player.dream.set_latents(editor.latents)
        player.editor, player.phase, player.fair = None, player.skip, None
        player.show_notice("latents set in the dream")
    else:
        return command == "step"  # no steps while the editor is open
    return True


SWITCHES = ("paused", "help", "quitting", "saving", "smooth")  # attributes of the player
COMMANDS: dict[str, Callable[[Player], None]] = {
    "cooler": _cooler, "warmer": _warmer, "leave": _leave, "enter": _enter, "driver": _driver,
    "controller": _controller, "view": _view, "synchronise": _synchronise, "editor": _editor,
    "reset": Player.reset, "step": Player.take_step,
}  # fmt: skip
