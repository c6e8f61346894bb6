"""The real game and the dream, side by side or alone, and M's judgement of them."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from player.hud import scene_of
from player.install import game_fails
from player.player import Player
from player.views import DARK, DreamView, GameView, surprise_words
from tests.player.helpers import make_player, press, tick
from wm_envs.errors import MissingPackage


@pytest.fixture
def beside(tiny_drive: Path) -> Iterator[Player]:
    """A player of the real CarRacing and its dream."""
    pytest.importorskip("Box2D")
    player = make_player(tiny_drive, "random", "both")
    yield player
    player.close()


def same(first: Any, second: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first.tensors(), second.tensors(), strict=True))


def test_dream_starts_from_the_games_state_and_gets_the_same_actions(beside: Player) -> None:
    dream, game = beside.views.dream, beside.views.game
    assert same(dream.state, game.state)
    actions: dict[str, list[Any]] = {"game": [], "dream": []}
    for view in beside.views.visible:
        step = view.env.step
        view.env.step = lambda action, step=step, name=view.name: actions[name].append(action) or step(action)
    tick(beside, 3 * beside.clock.frame_skip)
    assert len(actions["game"]) == 3 and np.array_equal(actions["game"], actions["dream"])
    assert not same(dream.state, game.state), "the two diverge"
    assert dream.ticks == game.ticks
    press(beside, "synchronise")
    assert same(dream.state, game.state) and dream.total == game.total


def test_dream_is_resynchronised_after_the_burn_in(beside: Player) -> None:
    skip, world = beside.clock.frame_skip, beside.views.dream.world
    world.config = dataclasses.replace(world.config, burn_in=3 * skip)
    for steps in range(1, 6):
        tick(beside, skip)
        assert same(beside.views.dream.state, beside.views.game.state) == (steps == 3)


def test_every_tick_of_the_game_is_shown(beside: Player) -> None:
    skip, game = beside.clock.frame_skip, beside.views.game
    tick(beside, skip)
    assert len(game.frames) == 1 + skip
    tick(beside, 3)
    (name, picture), (other, _) = beside.frames()
    assert (name, other) == ("game", "dream") and np.array_equal(picture, game.frames[3])


def test_surprise_is_the_nll_of_the_next_latents(beside: Player) -> None:
    from wm_envs.models.memory.mixture import mixture_nll

    game = beside.views.game
    tick(beside, beside.clock.frame_skip)
    before, action = game.state, np.array([0.3, 1.0, 0.0], np.float32)
    game.step(action)
    prediction, *_ = game.world.predict(before, torch.from_numpy(game.world.task.actions.to_game(action[None])))
    assert game.surprise == pytest.approx(float(mixture_nll(prediction, game.state.latents).mean()))
    assert scene_of(beside).plots[0].words == surprise_words(game.surprise, game.typical_surprise)
    assert game.history[-1] == game.surprise


def test_only_the_games_end_ends_the_episode(beside: Player) -> None:
    dream, game, skip = beside.views.dream, beside.views.game, beside.clock.frame_skip
    dream.ending = "the dream has ended"
    tick(beside, 2 * skip)
    assert beside.scoreboard.finished == [] and (game.ticks, dream.ticks) == (2 * skip, 0)
    game.ending = "the game has ended"
    beside.tick()
    assert scene_of(beside).message[0] == "the game has ended"
    tick(beside, 3)
    assert not dream.ending and torch.equal(dream.state.latents, dream.after)


def test_same_seed_gives_the_same_game_and_dream(tiny_world: Path) -> None:
    pytest.importorskip("vizdoom")
    latents = []
    for seed in (3, 3, 4):
        player = make_player(tiny_world, "random", "both", seed=seed)
        tick(player, 6 * player.clock.frame_skip)
        latents.append([view.state.latents.numpy().copy() for view in player.views.visible])
        player.close()
    np.testing.assert_array_equal(latents[0], latents[1])
    assert not np.array_equal(latents[0], latents[2])


def test_v_switches_the_view(beside: Player) -> None:
    shown = []
    for _ in range(3):
        press(beside, "view")
        tick(beside, beside.clock.frame_skip)
        shown.append([name for name, _ in beside.frames()])
    assert shown == [["dream"], ["game"], ["game", "dream"]]


NO_DOOM = MissingPackage("vizdoom", "not installed", "the extra 'doom'", "pip install 'wm-envs[doom]'")
BROKEN = [(error, "does not start") for error in (ImportError("libx.so: cannot open"), OSError("x"), RuntimeError())]


@pytest.mark.parametrize(("error", "words"), [(NO_DOOM, "not installed"), *BROKEN])
def test_game_that_cannot_be_opened_leaves_the_dream(tiny_world: Path, error: Exception, words: str) -> None:
    def fail() -> GameView:
        raise error

    player = make_player(tiny_world, open_game=fail)
    press(player, "view")
    notice = scene_of(player).message[0]
    assert words in notice and "[doom]" in notice
    tick(player, 4)
    assert player.views.shown == "dream" and player.clock.played == 4
    assert "[doom]" in game_fails(player.views.dream.world.task, error).fix


def test_dream_never_ends_black(world: str, monkeypatch: pytest.MonkeyPatch) -> None:
    view = make_player(world).views.dream
    assert isinstance(view, DreamView)
    bright = view.frame(4)
    assert bright.max() > DARK
    monkeypatch.setattr(view.world, "decode", lambda latents: torch.zeros(1, 64, 64, 3, dtype=torch.uint8))
    view.step(np.zeros(1, np.float32))
    view.ending = "over"
    assert np.array_equal(view.frame(4), bright)
