"""play.py: every key by posted events on a dummy display, the headless GIF, and mistakes of the user's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

pygame = pytest.importorskip("pygame")
Image = pytest.importorskip("PIL.Image")

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # play.py belongs to the repository, not to the package

import play  # noqa: E402
from seat.player import HELP  # noqa: E402
from wm_envs.controller import ControllerConfig  # noqa: E402
from wm_envs.memory import MDNRNN, MemoryConfig  # noqa: E402
from wm_envs.vision import ConvVAE, VisionConfig  # noqa: E402
from wm_envs.world_model import WorldConfig, WorldModel  # noqa: E402
from wm_envs.worlds import save_controller, save_world  # noqa: E402

LATENT, HIDDEN = 4, 8


def make_world(folder: Path, end_bias: float = -50.0, controller: bool = True) -> str:
    """A random world whose dreams never end, or (end_bias=50) end at once; its controller always goes right."""
    torch.manual_seed(0)
    vision, memory = VisionConfig(LATENT, (4, 4, 8, 8)), MemoryConfig(latent=LATENT, hidden=HIDDEN)
    config = WorldConfig(vision=vision, memory=memory)
    rnn = MDNRNN(memory)
    with torch.no_grad():
        bias = rnn.head.bias
        end = int(rnn.split(torch.arange(len(bias)).float()).end)  # which output is the logit of the end
        rnn.head.weight[end] = 0
        bias[end] = end_bias
    first = torch.randn(5, LATENT)
    save_world(folder, WorldModel(config, ConvVAE(vision), rnn, first, first - 3))
    if controller:
        policy = ControllerConfig(LATENT, HIDDEN)
        parameters = torch.zeros(policy.parameters)
        parameters[-1] = 3.0
        save_controller(folder, "right", policy, parameters)
    return str(folder)


@pytest.fixture
def world(tmp_path: Path) -> str:
    return make_world(tmp_path / "world")


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> Iterator[play.Screen]:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    screen = play.Screen()
    assert screen.open("test")
    yield screen
    pygame.quit()


def make_player(world: str, driver: str = "you", controller: bool = True, rest: int = 2) -> play.Player:
    env = gym.make("WMDream-v0", world=world, render_mode="rgb_array")
    return play.Player(env, driver, play.find_controller(world, None) if controller else None, 0, rest)


def send(screen: play.Screen, player: play.Player, key: int, kind: int | None = None, **more: Any) -> None:
    """Post a key event and let the screen handle what arrives."""
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN if kind is None else kind, key=key, **more))
    for event in pygame.event.get():
        screen.handle(event, player)


def spy(player: play.Player, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The actions that reach the env."""
    actions: list[float] = []
    step = player.dream.env.step

    def listen(action: Any) -> Any:
        actions.append(float(action[0]))
        return step(action)

    monkeypatch.setattr(player.dream.env, "step", listen)
    return actions


def tick(player: play.Player, ticks: int) -> None:
    for _ in range(ticks):
        player.tick()


# --- keys ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "action"), [("K_LEFT", -1), ("K_a", -1), ("K_RIGHT", 1), ("K_d", 1)])
def test_a_held_key_moves_until_it_is_released(
    world: str, window: play.Screen, monkeypatch: pytest.MonkeyPatch, key: str, action: int
) -> None:
    player = make_player(world)
    actions = spy(player, monkeypatch)
    send(window, player, getattr(pygame, key))
    tick(player, 8)
    send(window, player, getattr(pygame, key), pygame.KEYUP)
    tick(player, 4)
    assert actions == [action, action, 0]


def test_a_car_steers_and_brakes_at_once(
    tiny_drive: Path, window: play.Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = make_player(str(tiny_drive), controller=False)
    actions: list[list[float]] = []
    monkeypatch.setattr(
        player.dream.env,
        "step",
        lambda action: actions.append(action.tolist()) or (0, 0.0, False, False, {"end_probability": 0.0}),
    )
    for key in ("K_UP", "K_LEFT", "K_s"):  # gas, gas and left, brake and left
        send(window, player, getattr(pygame, key))
        tick(player, 8)
    np.testing.assert_allclose(actions, [[0, 1, 0], [-1, 1, 0], [-1, -1, 0.8]])


def test_a_tap_between_two_steps_counts_once(world: str, window: play.Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    player = make_player(world)
    actions = spy(player, monkeypatch)
    tick(player, 2)
    send(window, player, pygame.K_LEFT)
    send(window, player, pygame.K_LEFT, pygame.KEYUP)
    tick(player, 10)
    assert actions == [0, -1, 0]


def test_the_last_of_two_keys_counts_and_lost_focus_frees_all(
    world: str, window: play.Screen, monkeypatch: pytest.MonkeyPatch
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


def test_brackets_change_the_temperature_within_its_limits(world: str, window: play.Screen) -> None:
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
    assert "temp 0.05" in player.hud()[1]


@pytest.mark.parametrize("key", ["K_SPACE", "K_p", "K_PERIOD", "K_h"])
def test_pause_and_help_stop_time(world: str, window: play.Screen, key: str) -> None:
    player = make_player(world)
    send(window, player, getattr(pygame, key))
    tick(player, 5)
    assert player.played == 0
    assert player.message() == (list(HELP) if key == "K_h" else ["paused"])
    send(window, player, getattr(pygame, key))
    tick(player, 5)
    assert player.played == 5
    assert player.message() == []


def test_r_begins_a_new_episode(world: str, window: play.Screen) -> None:
    player = make_player(world)
    tick(player, 10)
    send(window, player, pygame.K_r)
    assert int(player.dream.state.ticks[0]) == 0
    assert player.hud()[0][:2] == ["score 0", "time 0.0 s"]
    assert player.scores == []  # it was given up, not finished


@pytest.mark.parametrize("key", ["K_q", "K_ESCAPE"])
def test_quit(world: str, window: play.Screen, key: str) -> None:
    player = make_player(world)
    send(window, player, getattr(pygame, key))
    assert player.quitting
    play.run(player, window, None, None, None, window=True)  # comes back at once
    assert player.played == 0


def test_closing_the_window_quits(world: str, window: play.Screen) -> None:
    player = make_player(world)
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    play.run(player, window, None, None, 1000, window=True)
    assert player.quitting
    assert player.played == 1


def test_m_hands_over_to_the_controller_to_chance_and_back(
    world: str, window: play.Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = make_player(world)
    actions = spy(player, monkeypatch)
    send(window, player, pygame.K_m)
    assert player.hud()[1][-1] == "controller"
    tick(player, 4)
    send(window, player, pygame.K_m)
    assert player.driver == "random"
    send(window, player, pygame.K_m)
    tick(player, 4)
    assert actions == [pytest.approx(np.tanh(3.0)), 0]
    alone = make_player(world, controller=False)
    send(window, alone, pygame.K_m)
    assert alone.driver == "random"


def test_other_keys_mean_nothing(world: str, window: play.Screen) -> None:
    player = make_player(world)
    before = vars(player) | {"held": []}
    send(window, player, pygame.K_z, unicode="z")
    send(window, player, pygame.K_z, pygame.KEYUP)
    send(window, player, pygame.K_LEFT, pygame.KEYUP)  # it went down elsewhere
    assert vars(player) == before


# --- what is seen ----------------------------------------------------------------------------------------


def test_frames_between_steps_are_decodings_of_interpolated_latents(world: str) -> None:
    player = make_player(world)
    before = player.dream.state.latents
    tick(player, 1)
    after = player.dream.state.latents
    assert np.array_equal(player.frames()[0][1], player.world.decode(before + (after - before) / 4)[0].numpy())
    tick(player, 3)
    assert np.array_equal(player.frames()[0][1], player.dream.env.render())
    assert int(player.dream.state.ticks[0]) == player.skip == 4  # one step so far


def test_an_ended_dream_is_shown_and_then_a_new_one_begins(tmp_path: Path) -> None:
    player = make_player(make_world(tmp_path / "short", end_bias=50.0))
    tick(player, 4)
    assert player.scores == [2.5]
    assert player.message() == ["the dream has ended", "score 2"]
    tick(player, 3)
    assert player.message() == []
    assert player.played == 4  # looking at the end is no playing
    tick(player, 4)
    assert player.scores == [2.5, 2.5]
    assert player.hud()[0][2] == "best 2"


def test_the_limit_of_the_game_ends_an_episode(world: str) -> None:
    player = make_player(world)
    tick(player, player.task.tick_limit)
    assert player.scores == [player.task.tick_limit]
    assert player.message()[0] == "you reached the limit"


@pytest.mark.parametrize("size", [(640, 640), (900, 300), (120, 400), (1, 1)])
def test_the_picture_fits_any_window(world: str, window: play.Screen, size: tuple[int, int]) -> None:
    player = make_player(world)
    tick(player, 2)
    player.press("help")
    picture = window.draw(player, size)
    assert picture.get_size() == size
    if size == (900, 300):
        assert picture.get_at((10, 150))[:3] == (0, 0, 0)  # beside the square


def test_pixels_stay_crisp(world: str, window: play.Screen) -> None:
    player = make_player(world)
    pixels = pygame.surfarray.array3d(window.draw(player, (640, 640))).swapaxes(0, 1)
    assert np.array_equal(pixels[200:400:10, ::10], player.frames()[0][1][20:40])
    assert np.array_equal(pixels[209:409:10, 9::10], player.frames()[0][1][20:40])


def test_random_play_holds_and_repeats_with_its_seed(world: str, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    for _ in range(2):
        player = make_player(world, "random")
        actions = spy(player, monkeypatch)
        tick(player, 800)
        runs.append(actions)
    assert runs[0] == runs[1]
    assert set(runs[0]) == {-1.0, 0.0, 1.0}
    assert np.count_nonzero(np.diff(runs[0])) < 100


# --- the command line --------------------------------------------------------------------------------------


def test_headless_writes_a_gif(world: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "deep" / "recordings"
    code = play.main(
        ["--world", world, "--headless", "--record", str(folder), "--steps", "70", "--seed", "1", "--json"]
    )
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert code == 0
    assert result == {"steps": 70, "episodes": 0, "scores": [], "gif": str(folder / "dream.gif")}
    assert [path.name for path in folder.iterdir()] == ["dream.gif"]
    with Image.open(folder / "dream.gif") as gif:
        assert gif.size == (320, 320)
        assert 20 <= gif.n_frames <= 35
        durations = 0
        for index in range(gif.n_frames):
            gif.seek(index)
            durations += gif.info["duration"]
    assert durations == pytest.approx(2000, abs=60)  # 70 tics at 35 a second


def test_headless_without_a_controller_plays_at_random(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = make_world(tmp_path / "short", end_bias=50.0, controller=False)
    argv = ["--world", world, "--headless", "--record", str(tmp_path), "--steps", "12", "--json"]
    assert play.main(argv) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["scores"] == [2.5, 2.5, 2.5]


def test_a_long_recording_is_thinned(world: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seat.recorder.GIF_FRAMES", 10)
    recorder, screen, player = play.Recorder(tmp_path, None), play.Screen(), make_player(world, "random")
    play.run(player, screen, recorder, None, 100, window=False)
    assert len(recorder.pictures) <= 15
    assert recorder.stride * len(recorder.pictures) == pytest.approx(100, abs=recorder.stride)


def test_a_window_plays_at_the_game_s_speed_and_records(
    world: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    waits = []

    class Clock:
        def tick(self, rate: float) -> None:
            waits.append(rate)

    monkeypatch.setattr(pygame.time, "Clock", Clock)
    assert play.main(["--world", world, "--steps", "9", "--temperature", "1.3", "--record", str(tmp_path)]) == 0
    assert waits == [35] * 9
    assert (tmp_path / "dream.gif").is_file()


def test_no_display_says_so_and_records(
    world: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(play.Screen, "open", lambda self, title, sides: False)
    monkeypatch.chdir(tmp_path)
    assert play.main(["--world", world, "--steps", "5"]) == 0
    assert "--headless" in capsys.readouterr().out.splitlines()[0]
    assert (tmp_path / "recordings" / "dream.gif").is_file()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have a display")
def test_sdl_s_invisible_display_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
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
        (["--temperature", "hot"], "'hot'"),
        (["--steps", "0"], "steps: got 0"),
        (["--steps", "-5"], "steps: got -5"),
        (["--seed", "-1"], "seed: got -1"),
        (["--driver", "nobody"], "nobody"),
        (["--driver", "you", "--headless"], "driver: got you"),
        (["--unknown"], "--unknown"),
    ],
)
def test_mistakes_are_said_in_one_line(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert play.main(argv) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]


def test_a_folder_that_cannot_be_written(world: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    assert play.main(["--world", world, "--headless", "--record", str(tmp_path / "file" / "x")]) == 2
    assert "record: got" in capsys.readouterr().err


def test_a_controller_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = make_world(tmp_path / "world", controller=False)
    assert play.main(["--world", world, "--headless", "--driver", "controller", "--record", str(tmp_path)]) == 2
    assert "controller: got none" in capsys.readouterr().err


@pytest.mark.parametrize(("module", "name"), [("pygame", "pygame"), ("PIL", "PIL")])
def test_a_missing_package_is_named_with_its_pip_line(module: str, name: str) -> None:
    code = f"import sys; sys.modules[{module!r}] = None; import play; sys.exit(play.main([]))"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert name in done.stderr
    assert "pip install 'wm-envs[play]'" in done.stderr
    assert "Traceback" not in done.stderr
