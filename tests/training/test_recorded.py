"""Episodes that other repositories recorded."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from tests.helpers import TINY_CONTROLLER
from training.data.episode_store import RolloutStore
from training.data.recorded import read_npz
from training.stages import collect, export
from wm_envs.errors import BrokenStore, InvalidOption, UnknownName
from wm_envs.games.registry import get_task
from wm_envs.worlds.bundle import load_world, save_controller

CAR = get_task("carracing")
FRAMES = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 64, 64, 3), np.uint8)
ACTIONS = np.linspace(0, 1, 18, dtype=np.float32).reshape(6, 3)
REWARDS = np.arange(6.0)


def save(path: Path, **arrays: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)
    return path


def test_the_two_layouts(tmp_path: Path) -> None:
    before = read_npz(save(tmp_path / "a.npz", obs=FRAMES, action=ACTIONS, reward=REWARDS), CAR)
    np.testing.assert_array_equal(before.frames, FRAMES)
    np.testing.assert_array_equal(before.actions, ACTIONS)
    assert before.terminated and before.rewards is not None
    ends = np.zeros(6, bool)
    after = read_npz(
        save(tmp_path / "b.npz", observations=FRAMES, actions=ACTIONS, rewards=REWARDS, terminals=ends), CAR
    )
    np.testing.assert_array_equal(after.frames, FRAMES[:-1])  # frame t came of action t
    np.testing.assert_array_equal(after.actions, ACTIONS[1:])
    assert not after.terminated and after.rewards is not None and after.rewards.tolist() == [1, 2, 3, 4, 5]


def test_frames_are_resized_and_doom_needs_no_rewards(tmp_path: Path) -> None:
    doom = get_task("takecover")
    large = np.zeros((6, 128, 160, 3), np.uint8)
    found = read_npz(save(tmp_path / "a.npz", obs=large, action=np.array([-1, -0.2, 0, 0.2, 0.5, 1])), doom)
    assert found.frames.shape == (6, 64, 64, 3) and found.rewards is None
    assert found.actions[:, 0].tolist() == [-1, 0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"obs": FRAMES, "action": ACTIONS}, "no rewards"),
        ({"action": ACTIONS, "reward": REWARDS}, "no frames"),
        ({"obs": FRAMES, "reward": REWARDS}, "no actions"),
        ({"obs": FRAMES, "action": ACTIONS[:4], "reward": REWARDS}, "lengths"),
        ({"obs": FRAMES, "action": ACTIONS + 1, "reward": REWARDS}, "from -1 to 1"),
        ({"obs": FRAMES, "action": ACTIONS, "reward": REWARDS * np.nan}, "finite"),
        ({"obs": np.array([{}] * 6), "action": ACTIONS, "reward": REWARDS}, "pickle"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, arrays: dict[str, Any], problem: str) -> None:
    with pytest.raises(BrokenStore, match=problem):
        read_npz(save(tmp_path / "a.npz", **arrays), CAR)


def test_they_fill_a_store(tmp_path: Path) -> None:
    for number in range(18):
        save(tmp_path / f"thread_{number % 2}" / f"{number}.npz", obs=FRAMES, action=ACTIONS, reward=REWARDS)
    options = collect.Command.flat(run=tmp_path / "run", task="carracing", from_npz=str(tmp_path), workers=1)
    assert collect.main(options).recorded == 18 * 6
    store = RolloutStore(tmp_path / "run" / "rollouts", "carracing")
    assert [len(part.lengths) for part in store.parts] == [16, 2] and store.size == 108
    assert collect.main(options).recorded == 0
    with pytest.raises(BrokenStore, match="without an episode"):
        collect.main(collect.Command.flat(run=tmp_path / "other", task="carracing", from_npz=str(tmp_path / "none")))


def test_a_minari_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    minari = pytest.importorskip("minari")
    from minari.data_collector.episode_buffer import EpisodeBuffer

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    frames = [frame for frame in np.concatenate([FRAMES, FRAMES[:1]])]
    rewards = REWARDS.tolist()
    ends = [False] * 5 + [True]
    buffers = [
        EpisodeBuffer(
            id=number, observations=frames, actions=list(ACTIONS), rewards=rewards, terminations=ends,
            truncations=[False] * 6,
        )
        for number in range(17)
    ]  # fmt: skip
    spaces = {
        "observation_space": gym.spaces.Box(0, 255, (64, 64, 3), np.uint8),
        "action_space": gym.spaces.Box(np.array([-1, 0, 0], np.float32), np.ones(3, np.float32)),
    }
    minari.create_dataset_from_buffers("toys/car-v0", buffers, jpeg_encoding=False, **spaces)
    options = {"task": "carracing", "workers": 1}
    for name, place in (("id", "toys/car-v0"), ("folder", str(tmp_path / "minari" / "toys" / "car-v0"))):
        found = collect.main(collect.Command.flat(run=tmp_path / name, from_minari=place, **options))
        assert found.recorded == 17 * 6
        first = RolloutStore(tmp_path / name / "rollouts", "carracing").parts[0]
        np.testing.assert_array_equal(first.read(0, 6), FRAMES)
        np.testing.assert_array_equal(first.actions[:6], ACTIONS)
        assert first.rewards is not None and first.rewards[:6].tolist() == rewards and bool(first.terminated.all())
    with pytest.raises(BrokenStore, match="minari download toys/bus-v0"):
        collect.main(collect.Command.flat(run=tmp_path / "other", from_minari="toys/bus-v0", **options))


def test_a_store_as_a_minari_dataset_and_back(tmp_path: Path) -> None:
    minari = pytest.importorskip("minari")
    for number in range(3):
        save(tmp_path / "theirs" / f"{number}.npz", obs=FRAMES + number, action=ACTIONS, reward=REWARDS)
    run, target, options = tmp_path / "run", tmp_path / "set", {"task": "carracing", "workers": 1}
    collect.main(collect.Command.flat(run=run, from_npz=str(tmp_path / "theirs"), **options))
    found = export.main(export.Command.flat(store=str(run), minari=str(target))).minari
    assert found.episodes == 3 and found.id == "wm-envs/carracing-game-v0"
    dataset = minari.MinariDataset(target / "data")
    assert dataset.total_steps == 18 and dataset.id == found.id
    collect.main(collect.Command.flat(run=tmp_path / "back", from_minari=str(target), **options))
    first, again = (RolloutStore(folder / "rollouts").parts[0] for folder in (run, tmp_path / "back"))
    np.testing.assert_array_equal(first.read(0, 18), again.read(0, 18))
    for name in ("actions", "rewards", "lengths", "terminated"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    again_to_the_same = export.main(export.Command.flat(store=str(run), minari=str(target))).minari
    assert again_to_the_same.episodes == 3
    with pytest.raises(InvalidOption, match="nothing without --minari"):
        export.main(export.Command.flat(store=str(run), onnx=str(tmp_path / "onnx")))


@pytest.mark.parametrize("controller", ["", "random"])
def test_dreams_as_a_minari_dataset(own_world: Path, tmp_path: Path, controller: str) -> None:
    minari = pytest.importorskip("minari")
    save_controller(own_world, "first", TINY_CONTROLLER, torch.ones(TINY_CONTROLLER.parameters))
    options = {"world": str(own_world), "minari": str(tmp_path / "set"), "episodes": 2, "controller": controller}
    found = export.main(export.Command.flat(**options)).minari
    assert found.episodes == 2 and found.id == "wm-envs/vizdoom-take-cover-dream-v0"
    dataset = minari.MinariDataset(tmp_path / "set" / "data")
    episodes = list(dataset.iterate_episodes())
    world = load_world(own_world)
    for episode in episodes:
        assert episode.observations.shape == (len(episode.actions) + 1, 64, 64, 3)
        assert (episode.rewards[:-1] == world.config.frame_skip).all()
        assert episode.terminations[-1] != episode.truncations[-1] and not episode.terminations[:-1].any()
        assert all(action in dataset.action_space for action in episode.actions)
    assert not np.array_equal(episodes[0].observations[0], episodes[1].observations[0])
    again = export.main(export.Command.flat(**options | {"minari": str(tmp_path / "again")})).minari
    assert again.episodes == 2
    repeated = minari.MinariDataset(tmp_path / "again" / "data").iterate_episodes()
    for one, other in zip(episodes, repeated, strict=True):
        np.testing.assert_array_equal(one.observations, other.observations)
    with pytest.raises(UnknownName, match="nobody"):
        export.main(export.Command.flat(**options | {"controller": "nobody"}))
