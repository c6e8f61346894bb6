"""Players of small worlds, and the keys that they get."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import pygame

from player.clock import Timing
from player.commands import Commands
from player.controls import Controls
from player.drivers import Driver, load_controllers
from player.player import Player
from player.screen import Screen
from player.views import GameView, Views

CONTROLS = Controls()


def make_player(
    world: str | Path, driver: str = "you", view: str = "dream", timing: Timing | None = None, **more: Any
) -> Player:
    """A player of a world; `view` other than "dream" opens the real game."""
    env = gym.make("WMDream-v0", world=str(world), render_mode="rgb_array")
    views = Views(env, view, more.pop("open_game", lambda: GameView(str(world))))
    seed = more.pop("seed", 0)
    chosen = Driver(views.dream.world, driver, load_controllers(str(world)), seed=seed)
    return Player(views, chosen, timing or Timing(end=2), seed=seed, **more)


def tick(player: Player, ticks: int) -> None:
    for _ in range(ticks):
        player.tick()


def press(player: Player, *commands: str) -> None:
    for command in commands:
        Commands(player).press(command)


def send(screen: Screen, player: Player, kind: int, **values: Any) -> None:
    """Pass an event on, as a session does."""
    CONTROLS.handle(pygame.event.Event(kind, **values), Commands(player, screen.sliders))


def keys(player: Player, *names: str, up: bool = False) -> None:
    """Press keys by their names in pygame, or release them."""
    for name in names:
        kind = pygame.KEYUP if up else pygame.KEYDOWN
        CONTROLS.handle(pygame.event.Event(kind, key=getattr(pygame, f"K_{name}")), Commands(player))
