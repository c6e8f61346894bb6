"""Fixtures of the player's tests, which need the extra `play`."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers import make_world

if TYPE_CHECKING:
    from player.screen import Screen

MISSING = [name for name in ("pygame", "PIL") if importlib.util.find_spec(name) is None]
collect_ignore_glob = ["test_*.py"] if MISSING else []


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    """An open window on a dummy display."""
    import pygame

    from player.screen import Screen

    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    screen = Screen()
    assert screen.open("test")
    yield screen
    pygame.quit()


@pytest.fixture
def short(tmp_path: Path) -> str:
    """A world whose dreams end at once."""
    return make_world(tmp_path / "short", end_bias=60.0)
