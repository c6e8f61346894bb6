"""The player's start screen: keys, mouse, options, and the way back to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pygame = pytest.importorskip("pygame")
pytest.importorskip("PIL")


from player.choices import Choice  # noqa: E402
from player.commands import press  # noqa: E402
from player.layout import inside  # noqa: E402
from player.scores import BestScores  # noqa: E402
from player.screen import Screen  # noqa: E402
from player.session import Session  # noqa: E402
from player.start_screen import StartScreen, card_of  # noqa: E402
from wm_envs.errors import MissingPackage  # noqa: E402


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    screen = Screen()
    assert screen.open("test")
    yield screen
    pygame.quit()


def key(start: StartScreen, *names: str) -> None:
    for name in names:
        start.handle(pygame.event.Event(pygame.KEYDOWN, key=getattr(pygame, f"K_{name}")))


@pytest.fixture
def start(world: str, window: Screen) -> StartScreen:
    cards = [card_of(world), card_of("carracing")]
    return StartScreen(window.canvas, cards, Choice(world), {card.name: BestScores(None, card.name) for card in cards})


def test_start_screen_chooses_world_player_view_and_temperature(start: StartScreen, world: str) -> None:
    assert start.choice == Choice(world)
    key(start, "RIGHT", "DOWN", "RIGHT", "DOWN", "LEFT", "DOWN", "RIGHT", "h")
    assert start.choice == Choice("carracing", "controller", "controller", "both", 0.3)
    assert start.help and not start.started
    start.draw((640, 384))
    key(start, "h", "RETURN")
    assert start.started and not start.quitting
    key(start, "q")
    assert start.quitting


def test_start_screen_takes_the_mouse(start: StartScreen) -> None:
    start.draw((832, 576))
    places = {(row, value): area for area, row, value in start.places}
    for row, value in (("world", 1), ("view", -1), ("start", 0)):
        start.handle(pygame.event.Event(pygame.MOUSEBUTTONDOWN, pos=places[row, value].center, button=1))
    assert start.choice.world == "carracing" and start.choice.view == "game" and start.started


def test_options_are_chosen_on_the_start_screen(window: Screen) -> None:
    cards = [card_of("carracing")]
    chosen = Choice("carracing", "controller", "careful", "dream", 0.7)
    start = StartScreen(window.canvas, cards, chosen, {"carracing": BestScores(None, "")})
    assert start.choice == chosen


def test_session_returns_to_the_start_screen(
    window: Screen, world: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[str] = []

    def show(self: Session, start: StartScreen) -> None:
        seen.append(start.problem)
        start.started, start.quitting = len(seen) < 3, len(seen) >= 3
        start.at["view"] = 1 if len(seen) == 1 else 0

    def missing(world: str, save: str | None) -> None:
        raise MissingPackage("x", "no package", "the extra", "pip")

    monkeypatch.setattr("player.session.shipped_worlds", lambda: [world])
    monkeypatch.setattr("player.session.GameView", missing)
    monkeypatch.setattr(Session, "_show", show)
    monkeypatch.setattr("player.session.run", lambda player, *rest: press(player, "leave"))
    Session(window, True, None).play_from_start_screen(Choice(world))
    assert "not installed" in seen[1], "the game cannot be opened: another choice"
    assert seen[2] == ""


def test_window_that_grows_stays_on_the_desktop() -> None:
    assert inside((340, 120), (1640, 768), (1920, 1080)) == (280, 120)
    assert inside((-5, 700), (800, 500), (1920, 1080)) == (0, 580)
    assert inside((10, 10), (4000, 3000), (1920, 1080)) == (0, 0)
