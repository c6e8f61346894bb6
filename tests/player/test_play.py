"""play.py: every key, by events on a dummy display, and the drawn picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import make_player, make_world

pygame = pytest.importorskip("pygame")
pytest.importorskip("PIL.Image")


from player.commands import press  # noqa: E402
from player.hud import HELP, best_texts, message, score_texts, temperature_text, who_text  # noqa: E402
from player.layout import PANEL  # noqa: E402
from player.player import Player  # noqa: E402
from player.screen import Screen  # noqa: E402
from player.session import run  # noqa: E402


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    screen = Screen()
    assert screen.open("test")
    yield screen
    pygame.quit()


def send(screen: Screen, player: Player, key: int, kind: int | None = None, **more: Any) -> None:
    """Post a key event and let the screen handle what arrives."""
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN if kind is None else kind, key=key, **more))
    for event in pygame.event.get():
        screen.handle(event, player)


def spy(player: Player, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A list of the actions that the env receives."""
    actions: list[float] = []
    step = player.dream.env.step

    def listen(action: Any) -> Any:
        actions.append(float(action[0]))
        return step(action)

    monkeypatch.setattr(player.dream.env, "step", listen)
    return actions


def tick(player: Player, ticks: int) -> None:
    for _ in range(ticks):
        player.tick()


# --- keys ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "action"), [("K_LEFT", -1), ("K_a", -1), ("K_RIGHT", 1), ("K_d", 1)])
def test_held_key_moves_until_released(
    world: str, window: Screen, monkeypatch: pytest.MonkeyPatch, key: str, action: int
) -> None:
    player = make_player(world)
    actions = spy(player, monkeypatch)
    send(window, player, getattr(pygame, key))
    tick(player, 8)
    send(window, player, getattr(pygame, key), pygame.KEYUP)
    tick(player, 4)
    assert actions == [action, action, 0]


def test_car_steers_and_brakes_at_the_same_time(
    tiny_drive: Path, window: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = make_player(str(tiny_drive), controller=False)
    actions: list[list[float]] = []
    monkeypatch.setattr(
        player.dream.env,
        "step",
        lambda action: actions.append(action.tolist()) or (0, 0.0, False, False, {"termination_probability": 0.0}),
    )
    for key in ("K_UP", "K_LEFT", "K_s"):  # gas, gas and left, brake and left
        send(window, player, getattr(pygame, key))
        tick(player, 8)
    np.testing.assert_allclose(actions, [[0, 1, 0], [-1, 1, 0], [-1, -1, 0.8]])


def test_tap_between_two_steps_counts_once(world: str, window: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    player = make_player(world)
    actions = spy(player, monkeypatch)
    tick(player, 2)
    send(window, player, pygame.K_LEFT)
    send(window, player, pygame.K_LEFT, pygame.KEYUP)
    tick(player, 10)
    assert actions == [0, -1, 0]


def test_last_of_two_opposite_keys_counts_and_lost_focus_releases_all(
    world: str, window: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = make_player(world)
    actions = spy(player, monkeypatch)
    send(window, player, pygame.K_LEFT)
    send(window, player, pygame.K_d)
    tick(player, 4)
    send(window, player, pygame.K_d, pygame.KEYUP)
    tick(player, 4)
    pygame.event.post(pygame.event.Event(pygame.WINDOWFOCUSLOST))
    send(window, player, pygame.K_LEFT, pygame.KEYUP)
    tick(player, 4)
    assert actions == [1, -1, 0]


def test_brackets_change_the_temperature_within_limits(world: str, window: Screen) -> None:
    player = make_player(world)
    send(window, player, pygame.K_RIGHTBRACKET)
    assert player.temperature == 1.05
    send(window, player, pygame.K_5, unicode="[")  # AltGr and a digit, on a German keyboard
    assert player.temperature == 1.0
    for _ in range(60):
        send(window, player, pygame.K_RIGHTBRACKET)
    assert player.temperature == 3.0
    for _ in range(80):
        send(window, player, pygame.K_LEFTBRACKET)
    assert player.temperature == 0.05
    tick(player, 4)
    assert temperature_text(player) == "temperature 0.05"


@pytest.mark.parametrize("key", ["K_SPACE", "K_p", "K_PERIOD", "K_h"])
def test_pause_and_help_stop_time(world: str, window: Screen, key: str) -> None:
    player = make_player(world)
    send(window, player, getattr(pygame, key))
    tick(player, 5)
    assert player.played == 0
    assert message(player) == (list(HELP) if key == "K_h" else ["paused", "P: go on"])
    send(window, player, getattr(pygame, key))
    tick(player, 5)
    assert player.played == 5
    assert message(player) == []


def test_r_starts_a_new_episode(world: str, window: Screen) -> None:
    player = make_player(world)
    tick(player, 10)
    send(window, player, pygame.K_r)
    assert int(player.dream.state.ticks[0]) == 0
    assert score_texts(player) == ["score 0", "0.0 s"]
    assert player.scores == []  # an unfinished episode has no score


@pytest.mark.parametrize("key", ["K_q", "K_ESCAPE"])
def test_quit(world: str, window: Screen, key: str) -> None:
    player = make_player(world)
    send(window, player, getattr(pygame, key))
    assert player.quitting
    run(player, window, None, None, None, window=True)  # returns immediately
    assert player.played == 0


def test_closing_the_window_quits(world: str, window: Screen) -> None:
    player = make_player(world)
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    run(player, window, None, None, 1000, window=True)
    assert player.quitting
    assert player.played == 1


def test_m_switches_between_you_controller_and_random(
    world: str, window: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = make_player(world)
    actions = spy(player, monkeypatch)
    send(window, player, pygame.K_m)
    assert who_text(player) == "'right' plays"
    tick(player, 4)
    send(window, player, pygame.K_m)
    assert player.driver == "random"
    send(window, player, pygame.K_m)
    tick(player, 4)
    assert actions == [pytest.approx(np.tanh(3.0)), 0]
    single = make_player(world, controller=False)
    send(window, single, pygame.K_m)
    assert single.driver == "random"


def test_other_keys_do_nothing(world: str, window: Screen) -> None:
    player = make_player(world)
    before = dict(vars(player))
    send(window, player, pygame.K_z, unicode="z")
    send(window, player, pygame.K_z, pygame.KEYUP)
    send(window, player, pygame.K_LEFT, pygame.KEYUP)  # pressed in another window
    assert vars(player) == before and player.keys.held == []


# --- display ----------------------------------------------------------------------------------------------


def test_frames_between_steps_are_decodings_of_interpolated_latents(world: str) -> None:
    player = make_player(world)
    before = player.dream.state.latents
    tick(player, 1)
    after = player.dream.state.latents
    assert np.array_equal(player.frames()[0][1], player.world.decode(before + (after - before) / 4)[0].numpy())
    tick(player, 3)
    assert np.array_equal(player.frames()[0][1], player.dream.env.render())
    assert int(player.dream.state.ticks[0]) == player.skip == 4  # one step so far


def test_end_is_shown_before_a_new_episode_starts(tmp_path: Path) -> None:
    player = make_player(make_world(tmp_path / "short", end_bias=50.0))
    tick(player, 4)
    assert player.scores == [2.5]
    assert message(player)[:2] == ["In the dream: A fireball hit you.", "score 2 ticks, a new best"]
    tick(player, 3)
    assert message(player) == []
    assert player.played == 4  # ticks at the end do not count
    tick(player, 4)
    assert player.scores == [2.5, 2.5]
    assert best_texts(player) == ["your best: 2", "best of 'right': none"]


def test_tick_limit_ends_an_episode(world: str) -> None:
    player = make_player(world)
    tick(player, player.task.timing.tick_limit)
    assert player.scores == [player.task.timing.tick_limit]
    assert message(player)[0] == "In the dream: You survived to the limit."


@pytest.mark.parametrize("size", [(640, 640), (900, 300), (120, 400), (1, 1)])
def test_picture_fits_any_window(world: str, window: Screen, size: tuple[int, int]) -> None:
    player = make_player(world)
    tick(player, 2)
    press(player, "help")
    picture = window.draw(player, size)
    assert picture.get_size() == size
    if size == (900, 300):
        assert picture.get_at((10, 150)) == picture.get_at((890, 280)), "beside the square and the panel"


def test_pixels_are_sharp_or_smooth(world: str, window: Screen) -> None:
    player = make_player(world)
    pixels = pygame.surfarray.array3d(window.draw(player, (640 + PANEL, 640))).swapaxes(0, 1)[:, :640]
    assert np.array_equal(pixels[200:400:10, ::10], player.frames()[0][1][20:40])
    assert np.array_equal(pixels[209:409:10, 9::10], player.frames()[0][1][20:40])
    send(window, player, pygame.K_b)
    smooth = pygame.surfarray.array3d(window.draw(player, (640 + PANEL, 640))).swapaxes(0, 1)[:, :640]
    assert np.array_equal(pixels[200:400:10], pixels[209:409:10])
    assert not np.array_equal(smooth[200:400:10], smooth[209:409:10])


def test_random_play_holds_actions_and_repeats_with_its_seed(world: str, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    for _ in range(2):
        player = make_player(world, "random")
        actions = spy(player, monkeypatch)
        tick(player, 800)
        runs.append(actions)
    assert runs[0] == runs[1]
    assert set(runs[0]) == {-1.0, 0.0, 1.0}
    assert np.count_nonzero(np.diff(runs[0])) < 100
