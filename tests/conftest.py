"""Fixtures that several folders of tests share."""

import os
import shutil
from pathlib import Path

import pytest

from tests.helpers import TINY_DRIVE, make_tiny_world, make_world, tiny_model
from wm_envs.worlds.bundle import save_world


@pytest.fixture(scope="session", autouse=True)
def _own_scores(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the player's best scores out of the home of who runs the tests."""
    os.environ["WM_ENVS_DATA"] = str(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small random world with a controller. Not to be changed."""
    return make_tiny_world(tmp_path_factory.mktemp("worlds") / "tiny")


@pytest.fixture(scope="session")
def immortal_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, but M never says that an episode ends."""
    return make_tiny_world(tmp_path_factory.mktemp("worlds") / "immortal", end_bias=-60.0)


@pytest.fixture(scope="session")
def tiny_drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small random world of CarRacing, without a controller. Not to be changed."""
    folder = tmp_path_factory.mktemp("worlds") / "drive"
    save_world(folder, tiny_model(config=TINY_DRIVE), {"note": "random"})
    return folder


@pytest.fixture
def own_world(tiny_world: Path, tmp_path: Path) -> Path:
    """A copy of the tiny world, as round 0 of a run, that a test may damage."""
    return Path(shutil.copytree(tiny_world, tmp_path / "round-0/world"))


@pytest.fixture
def own_drive(tiny_drive: Path, tmp_path: Path) -> Path:
    """A copy of the tiny world of CarRacing, as round 0 of a run, that a test may damage."""
    return Path(shutil.copytree(tiny_drive, tmp_path / "round-0/world"))


@pytest.fixture
def tiny_vision(monkeypatch: pytest.MonkeyPatch) -> None:
    """V's training reads frames in blocks of 64."""
    from training.stages import vision

    make = vision.FrameBlocks
    few = lambda parts, seed, chunks=4, **more: make(parts, seed, min(chunks, 4), **more)  # noqa: E731
    monkeypatch.setattr(vision, "FrameBlocks", few)


@pytest.fixture
def world(tmp_path: Path) -> str:
    return make_world(tmp_path / "world")
