"""What the player shows: words, gauges, latents' names, and the layout of any window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from tests.helpers import make_player

pygame = pytest.importorskip("pygame")
pytest.importorskip("PIL")


from player.commands import press  # noqa: E402
from player.difficulty import RisingTemperature  # noqa: E402
from player.drawing import LETTERS, Canvas  # noqa: E402
from player.drivers import load_controllers  # noqa: E402
from player.guides import GUIDES, guide_of  # noqa: E402
from player.hud import danger_word, message, surprise_words  # noqa: E402
from player.latent_editor import Editor  # noqa: E402
from player.latent_names import NAMES, describe, known_names  # noqa: E402
from player.layout import COLUMN, PANEL, arrange, default_side, window_size  # noqa: E402
from player.player import Pace, Player  # noqa: E402
from player.screen import Screen  # noqa: E402
from player.views import DARK, DreamView  # noqa: E402
from wm_envs.games.registry import TASKS  # noqa: E402
from wm_envs.worlds.bundle import read_config, resolve, shipped_worlds  # noqa: E402


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    screen = Screen()
    assert screen.open("test")
    yield screen
    pygame.quit()


def game(world: str, driver: str = "you", pace: Pace | None = None, **more: Any) -> Player:
    env = gym.make("WMDream-v0", world=world, render_mode="rgb_array")
    return Player(env, driver, load_controllers(world), 0, pace=pace or Pace(wait=True), **more)


def tick(player: Player, ticks: int) -> None:
    for _ in range(ticks):
        player.tick()


def test_numbers_become_words() -> None:
    assert [danger_word(p) for p in (0.0, 0.05, 0.2, 0.9)] == ["low", "some", "high", "very high"]
    words = [surprise_words(1.1 + more, 1.1) for more in (0.0, 0.5, 1.0)]
    assert words == ["the dream expected this", "a small surprise", "the dream was surprised"]


def test_cars_gauges_show_the_action_and_only_a_known_speed() -> None:
    gauges = GUIDES["carracing"].gauges(np.array([-0.5, 1.0, 0.0], np.float32), {})
    assert [(gauge.name, gauge.text) for gauge in gauges] == [("steering", "left"), ("gas", "100%"), ("brake", "0%")]
    moving = GUIDES["carracing"].gauges(np.zeros(3, np.float32), {"speed": 10.0})
    assert (moving[0].name, moving[0].text) == ("speed", "36 km/h")


def test_games_instruments_tell_the_speed() -> None:
    pytest.importorskip("Box2D")
    env = gym.make("WMCarRacing-v0", renderer="fast")
    env.reset(seed=0)
    for _ in range(15):
        env.step(np.array([0, 1, 0], np.float32))
    assert env.unwrapped.instruments["speed"] > 5
    env.close()


def test_car_without_a_road_in_sight_is_lost(tiny_drive: Path) -> None:
    grass = np.full((64, 64, 3), (100, 230, 100), np.uint8)
    road = grass.copy()
    road[:, 30:38] = 105
    lost = guide_of(TASKS["carracing"]).lost
    assert lost(grass) and not lost(road) and lost(np.zeros_like(grass))
    player = game(str(tiny_drive), "random")
    player.dream.lost_steps = player.task.timing.ticks_per_second
    assert message(player) == ["The car is lost in the green. R: start again"]


def test_dream_never_ends_black(world: str, monkeypatch: pytest.MonkeyPatch) -> None:
    view = DreamView(gym.make("WMDream-v0", world=world, render_mode="rgb_array"))
    view.reset(0)
    bright = view.frame(4)
    assert bright.max() > DARK
    black = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    monkeypatch.setattr(view.world, "decode", lambda latents: black)
    view.step(np.zeros(1, np.float32))
    view.ending = "over"
    assert np.array_equal(view.frame(4), bright)


def test_shipped_worlds_have_names_for_latents() -> None:
    for world in shipped_worlds():
        names = known_names(read_config(resolve(world)))
        assert names in NAMES.values() or names == {}, "a world trained again has no names yet"
    assert known_names({"files": {}}) == known_names({"files": {"world.safetensors": 3}}) == {}


def test_other_latents_are_described_by_their_decodings(world: str) -> None:
    dark = np.zeros((64, 64, 3), np.uint8)
    left = dark.copy()
    left[20:40, :15] = 200
    assert describe(dark, left) == "changes the left: dark / bright"
    assert describe(dark, dark) == "changes hardly anything"
    assert describe(dark, dark + 200) == "changes the whole picture"
    player = make_player(world)
    editor = Editor(player.world, player.dream.state.latents, {0: "known"})
    assert editor.name(editor.order.index(0)) == "known" and editor.name(editor.order.index(1)).startswith("changes")
    strip = editor.strip()
    assert len(strip) == 5 and strip is editor.strip()
    editor.turn(1.0)
    assert strip is editor.strip(), "the strip shows all values of the selected dimension"


@pytest.mark.parametrize("desktop", [(640, 480), (1280, 800), (1920, 1080)])
def test_window_grows_with_the_pictures(desktop: tuple[int, int]) -> None:
    side = default_side(desktop)
    sizes = [window_size(side, panels, desktop) for panels in (1, 2)]
    assert all(width <= desktop[0] and height <= desktop[1] for width, height in sizes)
    single, double = (arrange(size, panels).pictures[0][2] for panels, size in enumerate(sizes, 1))
    assert single == side
    assert double == side or desktop == (640, 480)
    for panels, size in enumerate(sizes, 1):
        layout = arrange(size, panels)
        left, top, width, height = layout.panel
        assert left >= 0 and left + width <= size[0] and top + height <= size[1]
        assert width >= min(PANEL, COLUMN) and len(layout.pictures) == panels


def test_letters_are_at_least_14_pixels_high() -> None:
    canvas = Canvas()
    canvas.surface = pygame.Surface((200, 40))
    assert canvas.text("score", (0, 0)).height >= 14
    assert canvas.line_height(LETTERS) >= 14


@pytest.mark.parametrize("size", [(640, 384), (832, 576), (1536, 640), (300, 300), (1, 1)])
def test_panel_fits_any_window(window: Screen, size: tuple[int, int]) -> None:
    player = game("carracing", rising=RisingTemperature(1.2))
    tick(player, 8)
    for command in ("help", "help", "editor"):
        press(player, command)
        assert window.draw(player, size).get_size() == size
