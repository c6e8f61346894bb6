"""The game behind the Take Cover task: ViZDoom's Take Cover, as in the paper (World Models, appendix A.5).

Skill 4, RGB24, HUD off, a 4:3 screen without its lower sixth, resized to 64x64. The player can only move sideways.
Imps at the far wall throw fireballs, and the first hit kills. The reward is 1 a tick.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import math
import os
import signal
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import vizdoom
from numpy.typing import NDArray

from wm_envs.games.base import FRAME_SHAPE, Array, Frame, Tick
from wm_envs.games.take_cover.engine_cleanup import (
    INSTANCE_FILE,
    SCRATCH_PREFIX,
    clear,
    engines_of,
    instance_id,
    start_time,
    sweep,
)
from wm_envs.games.take_cover.task import TAKE_COVER

cv2.setNumThreads(1)  # many games run in parallel processes: threads inside one would slow the others

CROP_ROWS = 100  # of 120: the paper's rows 0-400 of 480
SCREEN_WIDTH = 160
_live: weakref.WeakSet[TakeCoverGame] = weakref.WeakSet()


class TakeCoverGame:
    """One ViZDoom process playing Take Cover; satisfies `wm_envs.games.base.Game`.

    The engine runs in its own scratch folder, whose name contains the id of this process. If this process is killed,
    the next game that is opened removes what is left: engine process, shared memory and folder. Games of living
    processes are never touched.

    With `objects`, the engine also says which pixels are imps and fireballs, see `objects`.
    """

    finished = False  # there is no goal but survival

    def __init__(self, objects: bool = False) -> None:
        sweep()
        _install_cleanup()
        self._game: Any = None
        self._owner = os.getpid()
        owner = f"{os.getpid()}-{start_time(os.getpid()) or 0}-"
        self.scratch = Path(tempfile.mkdtemp(prefix=SCRATCH_PREFIX + owner))
        _live.add(self)  # from here on the engine is closed when this process ends
        game = vizdoom.DoomGame()
        game.load_config(os.path.join(vizdoom.scenarios_path, "take_cover.cfg"))
        game.set_doom_config_path(str(self.scratch / "_vizdoom.ini"))
        game.set_doom_skill(4)
        game.set_render_hud(False)
        game.set_screen_format(vizdoom.ScreenFormat.RGB24)
        game.set_screen_resolution(vizdoom.ScreenResolution.RES_160X120)
        game.set_available_buttons([vizdoom.Button.MOVE_LEFT, vizdoom.Button.MOVE_RIGHT])
        if objects:
            game.set_labels_buffer_enabled(True)
            game.set_available_game_variables([vizdoom.GameVariable.POSITION_X, vizdoom.GameVariable.POSITION_Y])
        game.set_window_visible(False)
        game.set_sound_enabled(False)
        game.set_episode_timeout(0)  # the limit belongs to the environment
        before = engines_of(os.getpid())
        try:
            with _working_in(self.scratch):
                game.init()
        except BaseException:
            self.close()
            raise
        engines = engines_of(os.getpid()) - before
        self._game = game
        if len(engines) == 1:
            (self.scratch / INSTANCE_FILE).write_text(instance_id(engines.pop()) or "")

    def reset(self, seed: int) -> Frame:
        """Start the episode of `seed`; the same seed gives the same episode."""
        self._game.set_seed(int(seed) % 2**32)
        self._game.new_episode()
        return self._frame()

    def advance(self, action: Array, ticks: int) -> Tick:
        """Hold `action` ((1,): -1 left, 0 stay, 1 right) for `ticks` ticks of 1/35 s."""
        sideways = float(action[0])
        start = self._game.get_episode_time()
        reward = self._game.make_action([sideways < 0, sideways > 0], ticks)
        terminated = bool(self._game.is_episode_finished())
        played = int(self._game.get_episode_time() - start)
        # When the player is dead the screen is all zeros, which is no frame of the game.
        return Tick(None if terminated else self._frame(), float(reward), terminated, played)

    def objects(self) -> NDArray[np.bool_]:
        """The pixels of the last frame covered by visible imps and fireballs, (2, 64, 64) bool.

        For a game that was opened with `objects`.
        """
        found = np.zeros((len(TAKE_COVER.objects), *FRAME_SHAPE[:2]), bool)
        state = self._game.get_state()
        across, down = FRAME_SHAPE[1] / SCREEN_WIDTH, FRAME_SHAPE[0] / CROP_ROWS
        for label in state.labels if state is not None else ():
            if label.object_name in TAKE_COVER.objects and label.width:
                rows = slice(int(label.y * down), math.ceil((label.y + label.height) * down))
                columns = slice(int(label.x * across), math.ceil((label.x + label.width) * across))
                found[list(TAKE_COVER.objects).index(label.object_name), rows, columns] = True
        return found

    def close(self) -> None:
        """End the engine and remove its scratch folder. May be called twice.

        In a forked child it does neither: engine and folder belong to the parent.
        """
        game, self._game = self._game, None
        if os.getpid() != self._owner:
            if game is not None:
                _never_destroy(game)
            return
        if game is not None:
            game.close()
        clear(self.scratch)  # also ends an engine that was still starting
        _live.discard(self)

    def __del__(self) -> None:
        if getattr(self, "_game", None) is not None:
            self.close()

    def _frame(self) -> Frame:
        screen = self._game.get_state().screen_buffer[:CROP_ROWS]
        return np.asarray(cv2.resize(screen, FRAME_SHAPE[:2], interpolation=cv2.INTER_AREA), np.uint8)


# --- cleanup --------------------------------------------------------------------------------------


def close_all() -> None:
    """Close every game of this process (at exit, and on SIGTERM)."""
    for game in list(_live):
        with contextlib.suppress(Exception):
            game.close()


_cleanup_of: int | None = None


def _install_cleanup() -> None:
    """Close the games at exit, and on SIGTERM if no other handler is set; installed once per process."""
    global _cleanup_of
    if _cleanup_of == os.getpid():
        return
    _cleanup_of = os.getpid()
    atexit.register(close_all)
    with contextlib.suppress(ValueError):  # only the main thread can set signal handlers
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _on_terminate)


def _never_destroy(game: Any) -> None:
    """Keep an object for ever: the destructor of a DoomGame ends its engine, also in a forked child."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(game))


def _forget_parent() -> None:
    """In a forked child: leave the parent's games alone, and end on SIGTERM even while native code is running."""
    for game in list(_live):
        if game._game is not None:
            _never_destroy(game._game)
    _live.clear()
    with contextlib.suppress(ValueError):
        if signal.getsignal(signal.SIGTERM) is _on_terminate:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


os.register_at_fork(after_in_child=_forget_parent)


def _on_terminate(number: int, _: object) -> None:
    close_all()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


@contextlib.contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    """Start the engine in `folder`: ViZDoom writes files into the working directory."""
    before, runtime = Path.cwd(), os.environ.get("XDG_RUNTIME_DIR")
    os.chdir(folder)
    os.environ["XDG_RUNTIME_DIR"] = runtime or str(folder)  # without it SDL warns if there is no desktop
    try:
        yield
    finally:
        os.chdir(before)
        if runtime is None:
            del os.environ["XDG_RUNTIME_DIR"]
