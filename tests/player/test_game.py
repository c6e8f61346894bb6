"""A game: countdown, rising temperature, steps, its end, the replay, and who may have a best score."""

from pathlib import Path

import numpy as np
import pytest

from player.clock import SLOWER, RisingTemperature, Timing
from player.hud import scene_of
from player.scores import YOU, BestScores, Scoreboard, data_folder
from tests.player.helpers import make_player, press, tick


def test_countdown_comes_before_your_game_and_help_stops_it(world: str) -> None:
    player = make_player(world, timing=Timing(countdown=6))
    assert scene_of(player).message[0] == "3"
    tick(player, 4)
    assert scene_of(player).message[0] == "1"
    press(player, "help")
    tick(player, 5)
    press(player, "help")
    tick(player, 2)
    assert player.clock.played == 0
    tick(player, 3)
    assert player.clock.played == 3
    assert make_player(world, "controller", timing=Timing(countdown=6)).clock.countdown == 0


def test_frames_between_steps_are_decodings_of_interpolated_latents(world: str) -> None:
    player = make_player(world)
    dream = player.views.dream
    before = dream.state.latents
    tick(player, 1)
    after = dream.state.latents
    assert np.array_equal(player.frames()[0][1], dream.world.decode(before + (after - before) / 4)[0].numpy())
    tick(player, 3)
    assert np.array_equal(player.frames()[0][1], dream.env.render())
    assert dream.ticks == player.clock.frame_skip == 4  # one step so far


def test_end_is_shown_before_a_new_episode_starts(short: str) -> None:
    player = make_player(short)
    tick(player, 4)
    assert player.scoreboard.finished == [2.5]
    assert scene_of(player).message[:2] == ["In the dream: A fireball hit you.", "score 2 ticks, a new best"]
    tick(player, 3)
    assert scene_of(player).message == []
    assert player.clock.played == 4  # ticks at the end do not count
    tick(player, 4)
    assert player.scoreboard.finished == [2.5, 2.5]
    assert scene_of(player).best_scores == ["your best: 2"]
    at_random = make_player(short, "random")
    tick(at_random, 4)
    assert at_random.scoreboard.finished and not at_random.scoreboard.new_best


def test_tick_limit_ends_an_episode(world: str) -> None:
    player = make_player(world)
    limit = player.views.dream.world.task.timing.tick_limit
    tick(player, limit)
    assert player.scoreboard.finished == [limit]
    assert scene_of(player).message[0] == "In the dream: You survived to the limit."


def test_r_starts_a_new_episode(world: str) -> None:
    player = make_player(world)
    tick(player, 10)
    press(player, "reset")
    assert player.views.dream.ticks == 0
    assert scene_of(player).scores == ["score 0", "0.0 s"]
    assert player.scoreboard.finished == []  # an unfinished episode has no score


def test_your_game_ends_with_a_slow_replay_and_waits_for_r(short: str) -> None:
    player = make_player(short, timing=Timing(end=2, replay=3, wait=True))
    tick(player, 4)
    last = [frames[0][1] for frames in player.replay.ticks]
    assert len(last) == 3
    tick(player, 200)
    assert scene_of(player).message[-1] == "R: play again" and player.clock.played == 4
    assert not player.recordable
    for waited, shown in ((SLOWER + 1, 1), (3 * SLOWER, 0)):
        player.clock.waited = waited
        assert np.array_equal(player.frames()[0][1], last[shown])
    press(player, "button 0")  # of a gamepad
    assert scene_of(player).message == [] and not player.replay.ticks
    controlled = make_player(short, "controller", timing=Timing(end=2, wait=True))
    tick(controlled, 4 + 3)
    assert not controlled.over, "a controller's next game starts by itself"


def test_temperature_rises_until_you_choose_one(world: str) -> None:
    rising = RisingTemperature(2.0)
    player = make_player(world, rising=rising)
    first = player.temperature
    assert first == pytest.approx(1.0)
    tick(player, 40)
    assert first < player.temperature < 2.0
    rising.games = 100
    assert rising.at(0) == 2.0
    press(player, "driver")  # the controller plays at the world's own temperature
    tick(player, 4)
    assert player.temperature == 2.0
    press(player, "warmer")
    tick(player, 8)
    assert player.rising is None and player.temperature == 2.05


def test_best_scores_are_kept_apart_and_between_sessions(tmp_path: Path) -> None:
    path = tmp_path / "data" / "scores.json"
    first = BestScores(path, "takecover")
    assert first.add(YOU, "dream", 100.0) and first.add("controller", "dream", 900.0)
    assert not first.add(YOU, "dream", 90.0) and not first.add(YOU, "dream", float("nan"))
    again, other = BestScores(path, "takecover"), BestScores(path, "carracing")
    assert (again.best(YOU, "dream"), again.best("controller", "dream"), again.best(YOU, "game")) == (100, 900, None)
    assert again.texts(["controller", "careful"], "dream") == ["your best: 100", "best of 'controller': 900"]
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
    player = make_player(short, scoreboard=Scoreboard(BestScores(tmp_path / "file" / "scores.json", "x")))
    tick(player, 4)
    assert "not kept" in scene_of(player).message[0]
    assert scene_of(player).best_scores == ["your best: 2"]


def test_scores_lie_in_the_data_folder_of_the_platform() -> None:
    home = Path.home()
    assert data_folder("linux", {}) == home / ".local/share/wm-envs"
    assert data_folder("linux", {"XDG_DATA_HOME": "/x"}) == Path("/x/wm-envs")
    assert data_folder("linux", {"XDG_DATA_HOME": "relative"}) == home / ".local/share/wm-envs"
    assert data_folder("darwin", {}) == home / "Library/Application Support/wm-envs"
    assert data_folder("win32", {"LOCALAPPDATA": "/local"}) == Path("/local/wm-envs")
    assert data_folder("linux", {"WM_ENVS_DATA": "/mine"}) == Path("/mine")
