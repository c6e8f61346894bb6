"""Real episodes of a player become a round of a run."""

from pathlib import Path

import numpy as np
import pytest

import tests.toy_env  # noqa: F401 (registers the environments)
from player.saver import EpisodeSaver
from player.views import GameView
from tests.games.test_any_env import make_world
from training.data.episode_store import PARTS_A_ROUND, RolloutStore
from wm_envs.errors import InvalidOption
from wm_envs.games.registry import get_task
from wm_envs.worlds.bundle import load_world

RIGHT = np.array([0, 0, 1], np.float32)


def test_every_episode_is_saved_as_it_was_played(tmp_path: Path) -> None:
    world, run = make_world(tmp_path / "world"), tmp_path / "run"
    view = GameView(world, str(run))
    shown, steps = [], 0
    view.reset(seed=1)
    while not view.ending:  # to the right edge
        shown.append(view.frame(1))
        view.step(RIGHT)
        steps += 1
    view.reset(seed=2)
    for _ in range(12):
        view.step(RIGHT)
    view.close()
    task = load_world(world).task
    first, second = RolloutStore(run / "rollouts", task.name).parts
    assert first.lengths.tolist() == [steps] and first.terminated.all()
    np.testing.assert_array_equal(first.read(0, steps), np.stack(shown))
    np.testing.assert_array_equal(first.actions, np.repeat(RIGHT[None], steps, axis=0))
    assert second.lengths.tolist() == [12] and not second.terminated.any()
    assert [first.index, second.index] == [0, 1]
    again = GameView(world, str(run))
    again.reset(seed=1)
    again.step(RIGHT)
    again.close()  # less than a second: nothing to learn from
    assert len(RolloutStore(run / "rollouts").parts) == 2
    assert EpisodeSaver(run, task)._first == PARTS_A_ROUND  # what comes next is a new round


def test_a_store_of_another_game_is_refused(tmp_path: Path) -> None:
    view = GameView(make_world(tmp_path / "world"), str(tmp_path / "run"))
    view.reset(seed=1)
    for _ in range(12):
        view.step(RIGHT)
    view.close()
    with pytest.raises(InvalidOption, match="ToyLight-v0"):
        EpisodeSaver(tmp_path / "run", get_task("carracing"))
