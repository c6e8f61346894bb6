"""The player's best scores: kept apart, between sessions, and whatever is in their file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from tests.helpers import make_world

pygame = pytest.importorskip("pygame")
pytest.importorskip("PIL")


from player.commands import press  # noqa: E402
from player.drivers import load_controllers  # noqa: E402
from player.hud import best_texts, message  # noqa: E402
from player.player import Pace, Player  # noqa: E402
from player.scores import YOU, BestScores, data_folder  # noqa: E402


def game(world: str, driver: str = "you", pace: Pace | None = None, **more: Any) -> Player:
    env = gym.make("WMDream-v0", world=world, render_mode="rgb_array")
    return Player(env, driver, load_controllers(world), 0, pace=pace or Pace(wait=True), **more)


def tick(player: Player, ticks: int) -> None:
    for _ in range(ticks):
        player.tick()


@pytest.fixture
def short(tmp_path: Path) -> str:
    """A world whose dreams end at once."""
    return make_world(tmp_path / "short", end_bias=50.0)


def test_best_scores_are_kept_apart_and_between_sessions(tmp_path: Path) -> None:
    path = tmp_path / "data" / "scores.json"
    first = BestScores(path, "takecover")
    assert first.add(YOU, "dream", 100.0) and first.add("controller", "dream", 900.0)
    assert not first.add(YOU, "dream", 90.0) and not first.add(YOU, "dream", float("nan"))
    again, other = BestScores(path, "takecover"), BestScores(path, "carracing")
    assert (again.best(YOU, "dream"), again.best("controller", "dream"), again.best(YOU, "game")) == (100, 900, None)
    assert other.best(YOU, "dream") is None
    other.add(YOU, "game", -5.0)
    first.add(YOU, "game", 7.0)
    assert BestScores(path, "carracing").best(YOU, "game") == -5.0, "the other world's scores stay"
    assert [file.name for file in path.parent.iterdir() if not file.name.startswith(".")] == ["scores.json"]


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\x00", b'{"a": 1, "crc32": "0"}', b'{"takecover": 3}', b""])
def test_damaged_scores_count_as_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "scores.json"
    path.write_bytes(content)
    scores = BestScores(path, "takecover")
    assert scores.best(YOU, "dream") is None
    assert scores.add(YOU, "dream", 5.0) and not scores.problem
    assert BestScores(path, "takecover").best(YOU, "dream") == 5.0


def test_scores_that_cannot_be_written_stay_in_memory(tmp_path: Path, short: str) -> None:
    (tmp_path / "file").write_text("in the way")
    player = game(short, bests=BestScores(tmp_path / "file" / "scores.json", "x"))
    tick(player, 4)
    assert "not kept" in message(player)[0]
    assert best_texts(player)[0] == "your best: 2"


def test_scores_lie_in_the_data_folder_of_the_platform() -> None:
    home = Path.home()
    assert data_folder("linux", {}) == home / ".local/share/wm-envs"
    assert data_folder("linux", {"XDG_DATA_HOME": "/x"}) == Path("/x/wm-envs")
    assert data_folder("linux", {"XDG_DATA_HOME": "relative"}) == home / ".local/share/wm-envs"
    assert data_folder("darwin", {}) == home / "Library/Application Support/wm-envs"
    assert data_folder("win32", {"LOCALAPPDATA": "/local"}) == Path("/local/wm-envs")
    assert data_folder("linux", {"WM_ENVS_DATA": "/mine"}) == Path("/mine")


def test_edited_latents_and_random_play_do_not_count(short: str, world: str) -> None:
    player = game(short, "random")
    tick(player, 4)
    assert player.scores and not player.new_best
    edited = game(world)
    tick(edited, 4)
    press(edited, "editor")
    press(edited, "enter")
    assert edited.fair is None
