"""What is drawn: pictures, panel, gauges and texts, in any window."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pygame
import pytest

from player.canvas import LETTERS, Canvas
from player.clock import RisingTemperature
from player.guides import GUIDES, guide_of
from player.hud import scene_of
from player.layout import COLUMN, PANEL, arrange, default_side, inside, window_size
from player.screen import Screen
from tests.player.helpers import make_player, press, tick
from wm_envs.games.registry import TASKS


@pytest.mark.parametrize("size", [(640, 640), (640, 384), (832, 576), (900, 300), (1536, 640), (120, 400), (1, 1)])
def test_picture_and_panel_fit_any_window(window: Screen, size: tuple[int, int]) -> None:
    player = make_player("carracing", rising=RisingTemperature(1.2))
    tick(player, 8)
    for command in ("help", "help", "editor", "editor"):
        press(player, command)
        picture = window.draw(scene_of(player), size)
        assert picture.get_size() == size
    if size == (900, 300):
        assert picture.get_at((10, 150)) == picture.get_at((890, 298)), "beside the square and the panel"


def test_pixels_are_sharp_or_smooth(world: str, window: Screen) -> None:
    player = make_player(world)
    size = 640 + PANEL, 640
    pixels = pygame.surfarray.array3d(window.draw(scene_of(player), size)).swapaxes(0, 1)[:, :640]
    assert np.array_equal(pixels[200:400:10, ::10], player.frames()[0][1][20:40])
    assert np.array_equal(pixels[209:409:10, 9::10], player.frames()[0][1][20:40])
    press(player, "smooth")
    smooth = pygame.surfarray.array3d(window.draw(scene_of(player), size)).swapaxes(0, 1)[:, :640]
    assert np.array_equal(pixels[200:400:10], pixels[209:409:10])
    assert not np.array_equal(smooth[200:400:10], smooth[209:409:10])


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


def test_window_that_grows_stays_on_the_desktop() -> None:
    assert inside((340, 120), (1640, 768), (1920, 1080)) == (280, 120)
    assert inside((-5, 700), (800, 500), (1920, 1080)) == (0, 580)
    assert inside((10, 10), (4000, 3000), (1920, 1080)) == (0, 0)


def test_letters_are_at_least_14_pixels_high() -> None:
    canvas = Canvas()
    canvas.surface = pygame.Surface((200, 40))
    assert canvas.text("score", (0, 0)).height >= 14
    assert canvas.line_height(LETTERS) >= 14


def test_cars_gauges_show_the_action_and_only_a_known_speed() -> None:
    gauges = GUIDES["carracing"].gauges(np.array([-0.5, 1.0, 0.0], np.float32), {})
    assert [(gauge.name, gauge.text) for gauge in gauges] == [("steering", "left"), ("gas", "100%"), ("brake", "0%")]
    assert [gauge.fraction(gauge.value) for gauge in gauges] == [0.25, 1.0, 0.0]
    moving = GUIDES["carracing"].gauges(np.zeros(3, np.float32), {"speed": 10.0})
    assert (moving[0].name, moving[0].text) == ("speed", "36 km/h")


def test_games_instruments_tell_the_speed() -> None:
    pytest.importorskip("Box2D")
    env = gym.make("WMCarRacing-v0", renderer="fast")
    env.reset(seed=0)
    for _ in range(15):
        env.step(np.array([0, 1, 0], np.float32))
    assert env.unwrapped.instruments["speed"] > 5  # type: ignore[attr-defined]
    env.close()


def test_car_without_a_road_in_sight_is_off_the_track(tiny_drive: Path) -> None:
    grass = np.full((64, 64, 3), (100, 230, 100), np.uint8)
    road = grass.copy()
    road[:, 30:38] = 105
    off_track = guide_of(TASKS["carracing"]).off_track
    assert off_track(grass) and not off_track(road) and off_track(np.zeros_like(grass))
    player = make_player(tiny_drive, "random")
    player.views.dream.off_track_steps = player.clock.ticks_per_second
    assert scene_of(player).message == ["The car is off the track. R: start again"]
