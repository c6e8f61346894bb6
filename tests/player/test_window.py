"""play.py in a real window of a virtual X server (Xvfb), with keys from xdotool."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from player.layout import COLUMN, default_side, window_size
from tests.helpers import ROOT, wait_for

pytest.importorskip("pygame")
pytest.importorskip("Box2D")
ImageGrab = pytest.importorskip("PIL.ImageGrab")
features = pytest.importorskip("PIL.features")
pytestmark = [
    pytest.mark.skipif(not (shutil.which("Xvfb") and shutil.which("xdotool")), reason="needs Xvfb and xdotool"),
    pytest.mark.skipif(not features.check("xcb"), reason="needs a Pillow that can see an X server"),
]

DISPLAY = 1400, 800
SIDE = default_side(DISPLAY)
SIZE = window_size(SIDE, 2, DISPLAY)  # of the window: two views, the panel below them
TITLE = "CarRacing: dream"
MARK = (255, 170, 60)  # of the slider
PATIENCE = 60.0  # seconds


class Window:
    """The player's window: sends keys and takes screenshots."""

    def __init__(self, display: str) -> None:
        self.display = display
        self.id = wait_for(self.find)
        self.do("windowmove", self.id, "0", "0", "windowfocus", self.id)

    def find(self) -> str | None:
        """The window's id, once it has its title: SDL replaces the first window that it opens."""
        found = self.do("search", "--class", "play.py").split()
        return next((window for window in found if self.do("getwindowname", window).strip() == TITLE), None)

    def do(self, *words: str) -> str:
        where = os.environ | {"DISPLAY": self.display}
        return subprocess.run(["xdotool", *words], env=where, capture_output=True, text=True, timeout=30).stdout

    def picture(self) -> NDArray[Any]:
        """The screen, (H, W, 3) uint8."""
        return np.asarray(ImageGrab.grab(xdisplay=self.display).convert("RGB"))

    def size(self) -> tuple[int, int]:
        found = dict(line.split("=") for line in self.do("getwindowgeometry", "--shell", self.id).split())
        return int(found["WIDTH"]), int(found["HEIGHT"])

    def mark(self) -> list[int]:
        """Columns of the temperature slider's mark, in the panel's first column."""
        bottom = self.picture()[SIDE : SIZE[1], :COLUMN]
        return np.flatnonzero((np.abs(bottom.astype(int) - MARK).sum(-1) < 30).any(0)).tolist()


@pytest.fixture
def display() -> Iterator[str]:
    """An X server's display."""
    reader, writer = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writer), "-screen", "0", "x".join(map(str, (*DISPLAY, 24))), "-nolisten", "tcp"],
        pass_fds=[writer], stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(writer)
    with os.fdopen(reader) as pipe:
        number = pipe.readline().strip()
    try:
        assert number, "no X server"
        yield f":{number}"
    finally:
        server.terminate()
        server.wait(30)


def test_play_in_a_real_window(display: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "SDL_VIDEODRIVER"}
    player = subprocess.Popen(
        [sys.executable, "play.py", "--world", "carracing", "--view", "both", "--driver", "controller", "--seed", "3",
         "--record", str(tmp_path), "--json"],
        cwd=ROOT, env=environment | {"DISPLAY": display, "SDL_AUDIODRIVER": "dummy"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        window = Window(display)
        wait_for(window.mark)
        first = window.picture()
        for left in (0, SIDE):  # the game and its dream: a road, and the grass beside it
            side = first[60 : SIDE - 60, left : left + SIDE].reshape(-1, 3).astype(int)
            assert (side[:, 1] > side[:, [0, 2]].max(1) + 40).mean() > 0.2, "no grass"
            assert len(np.unique(side, axis=0)) > 20
        panel = first[SIDE : SIZE[1], : SIZE[0]].astype(int).min(-1)
        assert (panel > 240).sum() > 100, "no text in the panel"
        wait_for(lambda: (window.picture() != first).mean() > 0.05)  # both views move

        cool, step = window.mark()[0], 0.05 / 2.95 * (SIZE[0] // (SIZE[0] // COLUMN) - 28)
        window.do("key", "--delay", "60", *["bracketright"] * 6)
        wait_for(lambda: (mark := window.mark()) and abs(mark[0] - cool - 6 * step) <= 2)

        window.do("key", "p")  # pause
        wait_for(lambda: np.array_equal(window.picture(), (time.sleep(0.3), window.picture())[1]))
        resting = window.picture()
        window.do("key", "h")
        wait_for(lambda: (window.picture() != resting)[200:440].mean() > 0.02)  # the help covers the middle
        window.do("key", "h", "key", "v")  # from both to the dream alone: the window becomes smaller
        alone = window_size(SIDE, 1, DISPLAY)
        wait_for(lambda: window.size() == alone and not window.picture()[:, alone[0] :].any())
        window.do("key", "l")  # the latent editor: wider again
        wait_for(lambda: window.size() == SIZE)
        window.do("key", "l", "key", "p", "windowsize", window.id, "500", "400")
        wait_for(lambda: window.picture()[100:200, 100:400].any() and not window.picture()[450:, :].any())
        window.do("key", "g")
        wait_for(lambda: list(tmp_path.glob("*.gif")))
        window.do("key", "q")
        out, error = player.communicate(timeout=PATIENCE)
    except BaseException:
        player.kill()
        print(player.communicate()[1])
        raise
    assert player.returncode == 0, error
    assert json.loads(out.splitlines()[-1])["steps"] > 10 and "Traceback" not in error
