"""play.py's command line: windows, a missing display, and user errors."""

import sys
from pathlib import Path

import pygame
import pytest

import play
from player.install import install_command
from tests.helpers import fresh_process, make_world


def test_window_plays_at_the_games_speed_and_records(
    world: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    waits = []

    class Clock:
        def tick(self, rate: float) -> None:
            waits.append(rate)

    monkeypatch.setattr(pygame.time, "Clock", Clock)
    assert play.main(["--world", world, "--steps", "9", "--temperature", "1.3", "--record", str(tmp_path)]) == 0
    assert waits == [35] * (70 + 9)  # the countdown, and the ticks
    assert (tmp_path / "dream.gif").is_file()


def test_records_with_a_message_if_there_is_no_display(
    world: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(play.Screen, "open", lambda self, title, views: False)
    monkeypatch.chdir(tmp_path)
    assert play.main(["--world", world, "--steps", "5"]) == 0
    assert "--headless" in capsys.readouterr().out.splitlines()[0]
    assert (tmp_path / "recordings" / "dream.gif").is_file()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have a display")
def test_sdl_dummy_display_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SDL_VIDEODRIVER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert play.Screen().open("test") is False
    pygame.quit()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--world", "nowhere"], "world: got nowhere"),
        (["--temperature", "0"], "temperature: got 0.0"),
        (["--temperature", "nan"], "temperature: got nan"),
        (["--temperature", "3.5"], "temperature: got 3.5"),
        (["--temperature", "hot"], "temperature: got hot"),
        (["--steps", "0"], "steps: got 0"),
        (["--steps", "-5"], "steps: got -5"),
        (["--seed", "-1"], "seed: got -1"),
        (["--driver", "nobody"], "nobody"),
        (["--driver", "controler"], "did you mean 'controller'?"),
        (["--view", "bot"], "did you mean 'both'?"),
        (["--world", "car-racing"], "did you mean 'carracing'?"),
        (["--world", "carracing", "--controller", "carefull"], "did you mean 'careful'?"),
        (["--controller", "tau-1", "--driver", "random"], "driver: got random"),
        (["--format", "mp3"], "did you mean 'mp4'?"),
        (["--driver", "you", "--headless"], "driver: got you"),
        (["--unknown"], "--unknown"),
        (["--worldd", "takecover"], "did you mean '--world'?"),
        (["--seed"], "--seed"),
        (["takecover"], "takecover"),
        (["--save", "runs/mine"], "--view game"),
    ],
)
def test_user_errors_are_printed_in_one_line(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert play.main(argv) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_unwritable_folder_is_an_error(world: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    assert play.main(["--world", world, "--headless", "--record", str(tmp_path / "file" / "x")]) == 2
    assert "record: got" in capsys.readouterr().err


def test_missing_controller_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = make_world(tmp_path / "world", controller=False)
    assert play.main(["--world", world, "--headless", "--driver", "controller", "--record", str(tmp_path)]) == 2
    assert "controller: got none" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["pygame", "PIL"])
def test_missing_package_error_gives_the_pip_command(module: str) -> None:
    code = f"import sys; sys.modules[{module!r}] = None; sys.stderr = sys.stdout; import play; print(play.main([]))"
    said = fresh_process(code)
    assert module in said and "-m pip install" in said and "[play]" in said and said.endswith("2\n")
    assert "Traceback" not in said


def test_install_command_fits_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv/bin/python"))
    assert install_command("doom", tmp_path) == ".venv/bin/python -m pip install 'wm-envs[doom]'"
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text("")
    assert install_command("doom", tmp_path) == ".venv/bin/python -m pip install -c constraints.txt -e '.[doom]'"
