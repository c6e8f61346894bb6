"""Recordings: GIF and MP4, the last seconds, and recordings that are interrupted."""

import sys
from pathlib import Path

import pygame
import pytest
from PIL import Image

import play
from player.hud import scene_of
from player.options import Options
from player.player import Player
from player.recordings import PICTURES, LastSeconds, Recorder, check_format
from player.screen import Screen
from player.session import Session, save_moment
from tests.helpers import last_json, make_world
from tests.player.helpers import keys, make_player, press


def test_headless_writes_a_gif(world: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "deep" / "recordings"
    argv = ["--world", world, "--headless", "--record", str(folder), "--steps", "70", "--seed", "1", "--json"]
    assert play.main(argv) == 0
    result = last_json(capsys)
    assert result == {"steps": 70, "episodes": 0, "scores": [], "gif": str(folder / "dream.gif")}
    assert [path.name for path in folder.iterdir()] == ["dream.gif"]
    with Image.open(folder / "dream.gif") as gif:
        assert gif.size == (320, 320)
        assert 20 <= gif.n_frames <= 35
        durations = 0
        for index in range(gif.n_frames):
            gif.seek(index)
            durations += gif.info["duration"]
    assert durations == pytest.approx(2000, abs=60)  # 70 ticks at 35 per second


def test_headless_without_a_controller_plays_at_random(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = make_world(tmp_path / "short", end_bias=60.0, controller=False)
    argv = ["--world", world, "--headless", "--record", str(tmp_path), "--steps", "12", "--json"]
    assert play.main(argv) == 0
    assert last_json(capsys)["scores"] == [2.5, 2.5, 2.5]


def test_headless_records_both_views(tiny_drive: Path, tmp_path: Path) -> None:
    pytest.importorskip("Box2D")
    argv = ["--world", str(tiny_drive), "--headless", "--view", "both", "--record", str(tmp_path), "--steps", "20"]
    assert play.main(argv) == 0
    with Image.open(tmp_path / "dream.gif") as recorded:
        assert recorded.size == (640, 320)


def test_headless_writes_an_mp4(world: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reader = pytest.importorskip("imageio_ffmpeg")
    argv = ["--world", world, "--headless", "--record", str(tmp_path), "--steps", "20", "--format", "mp4", "--json"]
    assert play.main(argv) == 0
    path = tmp_path / "dream.mp4"
    assert last_json(capsys)["mp4"] == str(path)
    frames, _ = reader.count_frames_and_secs(str(path))
    assert frames == 20 and [file.name for file in tmp_path.glob("dream*")] == ["dream.mp4"]


def test_mp4_without_its_package_is_an_error_before_playing(
    world: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    assert play.main(["--world", world, "--headless", "--record", str(tmp_path), "--format", "mp4"]) == 2
    message = capsys.readouterr().err
    assert "imageio-ffmpeg" in message and "[play]" in message and "--format gif" in message
    check_format("gif")


def test_long_recording_drops_frames(world: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PICTURES, "gif", 10)
    session = Session(Screen(), False, Options(record=str(tmp_path)))
    session.run(make_player(world, "random"), steps=100)
    assert len(session.recorder.pictures) <= 15
    assert session.recorder.stride * len(session.recorder.pictures) == pytest.approx(100, abs=session.recorder.stride)


def test_recording_keeps_its_size_when_the_view_changes(tiny_world: Path, tmp_path: Path) -> None:
    player, screen, recorder = make_player(tiny_world), Screen(), Recorder(tmp_path, None)
    for command in ("reset", "editor"):
        press(player, command)
        recorder.ticks = 0
        recorder.add(lambda side: screen.draw_recording(scene_of(player), side))
    with Image.open(recorder.save(35)) as recorded:
        assert recorded.size == (320, 320) and recorded.n_frames == 2


def test_g_saves_the_last_seconds(window: Screen, tiny_world: Path, tmp_path: Path) -> None:
    player, session = make_player(tiny_world), Session(window, True, Options())
    last = LastSeconds(tmp_path / "moments", 35)
    keys(player, "g")
    session.run(player, last, 5)
    keys(player, "g")
    session.run(player, last, 40)
    paths = sorted((tmp_path / "moments").iterdir())
    assert [path.name for path in paths] == ["moment-1.gif", "moment-2.gif"]
    with Image.open(paths[1]) as moment:
        assert moment.format == "GIF" and moment.size == (320, 320)
    (tmp_path / "file").write_text("")
    blocked = LastSeconds(tmp_path / "file" / "below", 35)
    assert save_moment(blocked) == "nothing to save yet"
    blocked.add(lambda side: window.draw_recording(scene_of(player), side))
    assert "not saved" in save_moment(blocked)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_interrupted_recording_is_saved(
    world: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stop: type
) -> None:
    forward = Player.tick

    def interrupted(self: Player) -> None:
        if self.clock.played == 30:
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
    forward = Player.tick

    def closed(self: Player) -> None:
        self.clock.countdown = 0
        forward(self)
        if self.clock.played == 6:
            pygame.event.post(pygame.event.Event(pygame.QUIT))

    monkeypatch.setattr(Player, "tick", closed)
    assert play.main(["--world", world, "--steps", "1000", "--record", str(tmp_path)]) == 0
    assert (tmp_path / "dream.gif").is_file()
