"""Scores: of the games of a session, and the best ones of you and each controller, kept in a JSON file."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from player.drivers import RANDOM, YOU
from wm_envs.errors import WorldModelError
from wm_envs.files import JsonObject, file_lock, read_json, write_json
from wm_envs.worlds.bundle import resolve, shipped_worlds

MAX_BYTES = 1 << 20


def data_folder(platform: str = sys.platform, environment: Mapping[str, str] = os.environ) -> Path:
    """The folder for this program's data in the user's home, as the platform has it; WM_ENVS_DATA names another."""
    if environment.get("WM_ENVS_DATA"):
        return Path(environment["WM_ENVS_DATA"])
    home = Path.home()
    if platform == "win32":
        return Path(environment.get("LOCALAPPDATA") or home / "AppData" / "Local") / "wm-envs"
    if platform == "darwin":
        return home / "Library" / "Application Support" / "wm-envs"
    chosen = environment.get("XDG_DATA_HOME", "")
    return (Path(chosen) if os.path.isabs(chosen) else home / ".local" / "share") / "wm-envs"


class BestScores:
    """The best score of each player in one world; `path` None keeps them in memory only.

    A damaged file is set aside as `scores.damaged.json` and counts as empty. A folder that cannot be written keeps
    the scores for this session, and `problem` says why.
    """

    def __init__(self, path: Path | None, world: str) -> None:
        self.path, self.world, self.problem = path, world, ""
        self._known: dict[str, float] = {}
        if path is not None:
            self._known = self._mine(self._read(path))

    def best(self, player: str, view: str) -> float | None:
        """The best score of YOU or of a controller in the dream or in the game."""
        return self._known.get(f"{view}/{player}")

    def add(self, player: str, view: str, score: float) -> bool:
        """Count a score; returns whether it is a new best."""
        before, name = self.best(player, view), f"{view}/{player}"
        if not math.isfinite(score) or (before is not None and score <= before):
            return False
        self._known[name] = round(score, 1)
        if self.path is not None:
            try:
                self._write(self.path)
            except (OSError, WorldModelError) as error:
                self.problem = f"the best scores are not kept: {error}"
        return True

    def _write(self, path: Path) -> None:
        with file_lock(path, wait=True):  # another player may have written in the meantime
            stored = self._read(path)
            theirs = self._mine(stored)
            self._known |= {name: max(score, self._known.get(name, score)) for name, score in theirs.items()}
            write_json(path, stored | {self.world: self._known})

    def _mine(self, stored: JsonObject) -> dict[str, float]:
        entry = stored.get(self.world)
        pairs = entry.items() if isinstance(entry, dict) else ()
        return {name: float(value) for name, value in pairs if type(value) in (int, float) and math.isfinite(value)}

    def _read(self, path: Path) -> JsonObject:
        try:
            return read_json(path, MAX_BYTES)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            with contextlib.suppress(OSError):
                path.replace(path.with_name("scores.damaged.json"))
            return {}

    def texts(self, controllers: Iterable[str], view: str) -> list[str]:
        """Your best score and that of each controller, where there is one."""
        names = [(YOU, "your best"), *((name, f"best of '{name}'") for name in controllers)]
        scores = [(text, self.best(name, view)) for name, text in names]
        return [f"{text}: {score:.0f}" for text, score in scores if score is not None]


def stored_bests(world: str) -> BestScores:
    """The best scores of a world, a shipped name or a folder, that are kept between sessions."""
    name = world if world in shipped_worlds() else str(resolve(world).resolve())
    return BestScores(data_folder() / "scores.json", name)


class Scoreboard:
    """The scores of the games that were finished, and whether the current one counts as a best score."""

    def __init__(self, bests: BestScores | None = None) -> None:
        self.bests = bests or BestScores(None, "")
        self.finished: list[float] = []
        self.eligible: str | None = None  # who has played the whole game; None if it does not count
        self.new_best = False

    def start(self, name: str) -> None:
        """A game begins, with this driver in control."""
        self.eligible, self.new_best = None if name == RANDOM else name, False

    def step(self, name: str) -> None:
        """A step was taken with this driver in control: a game with two drivers does not count."""
        if self.eligible != name:
            self.eligible = None

    def finish(self, view: str, score: float) -> None:
        """The game ended in this view with this score."""
        self.finished.append(score)
        self.new_best = self.eligible is not None and self.bests.add(self.eligible, view, score)
