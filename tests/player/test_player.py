"""The player: dream and game side by side, surprise, latent editor, slider, gamepad, last seconds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

pygame = pytest.importorskip("pygame")
pytest.importorskip("PIL")
from PIL import Image  # noqa: E402

from player.commands import press  # noqa: E402
from player.hud import danger_texts, message, surprise_words  # noqa: E402
from player.player import Pace, Player  # noqa: E402
from player.recorder import LastSeconds, Recorder  # noqa: E402
from player.screen import Screen  # noqa: E402
from player.session import run, save_moment  # noqa: E402
from player.views import GameView  # noqa: E402
from wm_envs.errors import MissingPackage  # noqa: E402


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    screen = Screen()
    assert screen.open("test")
    yield screen
    pygame.quit()


def dreamer(world: Path, **more: Any) -> Player:
    env = gym.make("WMDream-v0", world=str(world), render_mode="rgb_array")
    return Player(env, "random", None, 0, pace=Pace(end=2), **more)


@pytest.fixture
def beside(tiny_drive: Path) -> Iterator[Player]:
    """A player of the real CarRacing and its dream."""
    pytest.importorskip("Box2D")
    player = dreamer(tiny_drive, view="both", open_game=lambda: GameView(str(tiny_drive)))
    yield player
    player.close()


def send(screen: Screen, player: Player, *keys: int) -> None:
    for key in keys:
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key))
    for event in pygame.event.get():
        screen.handle(event, player)


def tick(player: Player, ticks: int) -> None:
    for _ in range(ticks):
        player.tick()


# --- the game beside the dream ------------------------------------------------------------------------


def same(first: Any, second: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first.tensors(), second.tensors(), strict=True))


def test_dream_starts_from_the_games_state_and_gets_the_same_actions(beside: Player) -> None:
    assert same(beside.dream.state, beside.game.state)
    given: dict[str, list[Any]] = {}
    for view in beside.views:
        step = view.env.step
        view.env.step = lambda action, step=step, name=view.name: (
            given.setdefault(name, []).append(action) or step(action)
        )
    tick(beside, 3 * beside.skip)
    assert len(given["game"]) == 3 and np.array_equal(given["game"], given["dream"])
    assert not same(beside.dream.state, beside.game.state), "the two diverge"
    assert beside.dream.state.ticks == beside.game.state.ticks
    press(beside, "synchronise")
    assert same(beside.dream.state, beside.game.state) and beside.dream.total == beside.game.total


def test_dream_is_resynchronised_after_the_burn_in(beside: Player) -> None:
    burn_in = 3 * beside.skip
    beside.world.config = dataclasses.replace(beside.world.config, burn_in=burn_in)
    for steps in range(1, 6):
        tick(beside, beside.skip)
        assert same(beside.dream.state, beside.game.state) == (steps == 3)


def test_every_tick_of_the_game_is_shown(beside: Player) -> None:
    tick(beside, beside.skip)
    assert len(beside.game.frames) == 1 + beside.skip
    tick(beside, 3)
    (name, picture), (other, _) = beside.frames()
    assert (name, other) == ("game", "dream") and np.array_equal(picture, beside.game.frames[3])


def test_surprise_is_the_nll_of_the_next_latents(beside: Player) -> None:
    from wm_envs.models.memory.mixture import mixture_nll

    tick(beside, beside.skip)
    before, chosen = beside.game.state, np.array([0.3, 1.0, 0.0], np.float32)
    beside.game.step(chosen)
    game_action = torch.from_numpy(beside.task.actions.to_game(chosen[None]))
    prediction, *_ = beside.world.predict(before, game_action)
    assert beside.game.surprise == pytest.approx(float(mixture_nll(prediction, beside.game.state.latents).mean()))
    assert danger_texts(beside)[0] == surprise_words(beside.game.surprise, beside.game.typical_surprise)
    assert beside.game.history[-1] == beside.game.surprise


def test_only_the_games_end_ends_the_episode(beside: Player) -> None:
    beside.dream.ending = "the dream has ended"
    tick(beside, 2 * beside.skip)
    assert beside.scores == [] and beside.game.state.ticks == 2 * beside.skip and beside.dream.state.ticks == 0
    beside.game.ending = "the game has ended"
    beside.tick()
    assert message(beside)[0] == "the game has ended"
    tick(beside, 3)
    assert not beside.dream.ending and torch.equal(beside.dream.state.latents, beside.dream.after)


def test_same_seed_gives_the_same_game_and_dream(tiny_world: Path) -> None:
    pytest.importorskip("vizdoom")
    seen = []
    for seed in (3, 3, 4):
        env = gym.make("WMDream-v0", world=str(tiny_world), render_mode="rgb_array")
        player = Player(env, "random", None, seed, "both", lambda: GameView(str(tiny_world)))
        tick(player, 6 * player.skip)
        seen.append([view.state.latents.numpy().copy() for view in player.views])
        player.close()
    np.testing.assert_array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[0], seen[2])


def test_v_switches_the_view(window: Screen, beside: Player) -> None:
    seen = []
    for _ in range(3):
        send(window, beside, pygame.K_v)
        tick(beside, beside.skip)
        seen.append([name for name, _ in beside.frames()])
    assert seen == [["dream"], ["game"], ["game", "dream"]]


def test_game_that_cannot_be_opened_shows_a_notice(window: Screen, tiny_world: Path) -> None:
    def missing() -> GameView:
        raise MissingPackage("vizdoom", "not installed", "the extra 'doom'", "pip install 'wm-envs[doom]'")

    for player in (dreamer(tiny_world, open_game=missing), dreamer(tiny_world)):
        send(window, player, pygame.K_v)
        assert player.view == "dream" and message(player)
        tick(player, 4)
        assert player.played == 4


# --- one step, temperature, moments -------------------------------------------------------------------


def test_e_takes_one_step_and_pauses(window: Screen, tiny_world: Path) -> None:
    player = dreamer(tiny_world)
    send(window, player, pygame.K_e, pygame.K_e)
    assert player.paused and player.dream.state.ticks == 2 * player.skip == player.played
    send(window, player, pygame.K_l, pygame.K_e, pygame.K_l)
    assert player.played == 2 * player.skip, "no steps while the editor is open"
    tick(player, 9)
    assert player.played == 2 * player.skip


def test_slider_sets_the_temperature(window: Screen, tiny_world: Path) -> None:
    player = dreamer(tiny_world)
    window.draw(player, (640, 640))
    slider = window.controls.slider
    for left, expected in ((slider.left, 0.05), (slider.left + slider.width // 2, 1.525)):
        event = pygame.event.Event(pygame.MOUSEBUTTONDOWN, pos=(left, slider.centery), button=1)
        window.handle(event, player)
        assert player.temperature == pytest.approx(expected, abs=0.01)
    window.handle(pygame.event.Event(pygame.MOUSEMOTION, pos=slider.midright, buttons=(0, 0, 0)), player)
    assert player.temperature == pytest.approx(1.525, abs=0.01), "not dragged"


def test_g_saves_the_last_seconds(window: Screen, tiny_world: Path, tmp_path: Path) -> None:
    player, last = dreamer(tiny_world), LastSeconds(tmp_path / "moments", 35)
    send(window, player, pygame.K_g)
    run(player, window, None, last, 5, window=True)
    send(window, player, pygame.K_g)
    run(player, window, None, last, 40, window=True)
    paths = sorted((tmp_path / "moments").iterdir())
    assert [path.name for path in paths] == ["moment-1.gif", "moment-2.gif"]
    with Image.open(paths[1]) as moment:
        assert moment.format == "GIF" and moment.size == (320, 320)
    (tmp_path / "file").write_text("")
    blocked = LastSeconds(tmp_path / "file" / "below", 35)
    assert save_moment(blocked) == "nothing to save yet"
    blocked.add(window, player)
    assert "not saved" in save_moment(blocked)


# --- the editor ---------------------------------------------------------------------------------------


def test_editor_changes_latents_and_sets_them_in_the_dream(window: Screen, tiny_world: Path) -> None:
    player = dreamer(tiny_world)
    tick(player, 8)
    state, total = player.dream.state, player.dream.total
    send(window, player, pygame.K_l)
    editor = player.editor
    assert torch.equal(editor.latents, state.latents) and editor.latents is not state.latents
    picture = window.draw(player, (800, 400))
    tick(player, 5)
    assert player.played == 8, "no ticks while the editor is open"
    send(window, player, pygame.K_DOWN, pygame.K_RIGHT, pygame.K_RIGHT)
    chosen = editor.order[1]
    assert editor.value(1) == pytest.approx(float(state.latents[0, chosen]) + 0.5)
    assert picture.get_size() == (800, 400) and len(window.controls.sliders) == 4
    area = window.controls.sliders[2]
    window.handle(pygame.event.Event(pygame.MOUSEBUTTONDOWN, pos=area.midright, button=1), player)
    window.handle(
        pygame.event.Event(pygame.MOUSEBUTTONDOWN, pos=(area.right - 1, area.centery), button=1),
        player,
    )
    assert editor.at == 2 and editor.value(2) == pytest.approx(4.0, abs=0.1)
    expected = editor.latents.clone()
    send(window, player, pygame.K_RETURN)
    assert player.editor is None and torch.equal(player.dream.state.latents, expected)
    assert torch.equal(player.dream.state.recurrent[0], state.recurrent[0]) and player.dream.state.ticks == state.ticks
    assert player.dream.total == total
    assert np.array_equal(player.frames()[0][1], player.world.decode(expected)[0].numpy())
    send(window, player, pygame.K_l, pygame.K_l)
    assert player.editor is None


def test_editor_orders_dimensions_by_variance(tiny_world: Path) -> None:
    from player.latent_editor import Editor

    player = dreamer(tiny_world)
    editor = Editor(player.world, player.dream.state.latents)
    noise = player.world.initial_logvars.mean(dim=0)[editor.order]
    assert (noise.diff() >= 0).all() and sorted(editor.order) == list(range(4))
    editor.move(-5)
    assert editor.at == 0
    editor.turn(100)
    assert editor.value(0) == 4.0


# --- gamepad ------------------------------------------------------------------------------------------


def test_gamepad_moves(window: Screen, tiny_world: Path) -> None:
    player = dreamer(tiny_world)

    def post(kind: int, **values: Any) -> None:
        window.handle(pygame.event.Event(kind, **values), player)

    post(pygame.JOYAXISMOTION, axis=0, value=-0.9)
    assert player.keys.held == ["left"]
    post(pygame.JOYAXISMOTION, axis=0, value=0.8)
    assert player.keys.held == ["right"]
    post(pygame.JOYAXISMOTION, axis=0, value=0.1)
    post(pygame.JOYHATMOTION, value=(0, 1))
    assert player.keys.held == ["up"]
    post(pygame.JOYHATMOTION, value=(0, 0))
    post(pygame.JOYBUTTONDOWN, button=1)
    assert player.keys.held == ["down"]
    post(pygame.JOYBUTTONUP, button=1)
    post(pygame.JOYBUTTONDOWN, button=7)
    assert player.keys.held == [] and player.paused
    post(pygame.JOYAXISMOTION, axis=4, value=1.0)
    post(pygame.JOYDEVICEADDED, device_index=99)  # an unplugged gamepad
    assert player.keys.held == [] and window.controls.sticks == []


def test_headless_records_both_views(tiny_drive: Path, tmp_path: Path) -> None:
    pytest.importorskip("Box2D")
    import play

    argv = ["--world", str(tiny_drive), "--headless", "--view", "both", "--record", str(tmp_path), "--steps", "20"]
    assert play.main(argv) == 0
    with Image.open(tmp_path / "dream.gif") as recorded:
        assert recorded.size == (640, 320)


def test_recording_keeps_its_size_when_the_view_changes(tiny_world: Path, tmp_path: Path) -> None:
    player, screen, recorder = dreamer(tiny_world), Screen(), Recorder(tmp_path, None)
    recorder.add(screen, player)
    press(player, "editor")
    recorder.seen = 0
    recorder.add(screen, player)
    with Image.open(recorder.save(35)) as recorded:
        assert recorded.size == (320, 320) and recorded.n_frames == 2
