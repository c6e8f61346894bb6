"""Installation commands, MP4, and recordings that are interrupted."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

pygame = pytest.importorskip("pygame")
pytest.importorskip("PIL")


import play  # noqa: E402
from player.commands import press  # noqa: E402
from player.drivers import load_controllers  # noqa: E402
from player.game_opening import game_fails, install_command  # noqa: E402
from player.hud import message  # noqa: E402
from player.movies import check_format  # noqa: E402
from player.player import Pace, Player  # noqa: E402
from player.screen import Screen  # noqa: E402
from player.session import run  # noqa: E402


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


def test_install_command_fits_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv/bin/python"))
    assert install_command("doom", tmp_path) == ".venv/bin/python -m pip install 'wm-envs[doom]'"
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text("")
    assert install_command("doom", tmp_path) == ".venv/bin/python -m pip install -c constraints.txt -e '.[doom]'"


@pytest.mark.parametrize("error", [ImportError("libx.so: cannot open"), OSError("engine"), RuntimeError()])
def test_game_that_fails_to_start_leaves_the_dream(window: Screen, world: str, error: Exception) -> None:
    def fails() -> Any:
        raise error

    player = game(world, open_game=fails)
    press(player, "view")
    assert "does not start" in message(player)[0] and "[doom]" in message(player)[0]
    tick(player, 4)
    assert player.view == "dream" and player.played == 4
    assert "[doom]" in game_fails(player.task, error).fix


def test_headless_writes_an_mp4(world: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reader = pytest.importorskip("imageio_ffmpeg")
    argv = ["--world", world, "--headless", "--record", str(tmp_path), "--steps", "20", "--format", "mp4", "--json"]
    assert play.main(argv) == 0
    path = tmp_path / "dream.mp4"
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["mp4"] == str(path)
    frames, _ = reader.count_frames_and_secs(str(path))
    assert frames == 20 and [file.name for file in tmp_path.glob("dream*")] == ["dream.mp4"]


def test_mp4_without_its_package_is_an_error_before_playing(
    world: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    assert play.main(["--world", world, "--headless", "--record", str(tmp_path), "--format", "mp4"]) == 2
    said = capsys.readouterr().err
    assert "imageio-ffmpeg" in said and "[play]" in said and "--format gif" in said
    check_format("gif")


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_interrupted_recording_is_saved(
    world: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stop: type
) -> None:
    forward = Player.tick

    def interrupted(self: Player) -> None:
        if self.played == 30:
            raise stop
        forward(self)

    monkeypatch.setattr(Player, "tick", interrupted)
    argv = ["--world", world, "--headless", "--record", str(tmp_path), "--steps", "100"]
    if stop is KeyboardInterrupt:
        assert play.main(argv) == 130
        assert capsys.readouterr().err == "play.py: interrupted\n"
    else:
        with pytest.raises(stop):
            play.main(argv)
    assert (tmp_path / "dream.gif").is_file()


def test_closed_window_saves_the_recording(world: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")

    def closed(player: Player, screen: Screen, recorder: Any, *rest: Any) -> None:
        player.countdown = 0
        run(player, screen, recorder, None, 6, window=False)
        pygame.event.post(pygame.event.Event(pygame.QUIT))
        run(player, screen, recorder, None, None, window=True)
        assert player.quitting

    monkeypatch.setattr("player.session.run", closed)
    assert play.main(["--world", world, "--record", str(tmp_path)]) == 0
    assert (tmp_path / "dream.gif").is_file()
