"""Episodes that other repositories recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from training.data.episode_store import RolloutStore
from training.data.recorded import read_npz
from training.stages import collect
from wm_envs.errors import BrokenStore
from wm_envs.games.registry import get_task

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
    options = collect.CollectOptions(tmp_path / "run", task="carracing", from_npz=str(tmp_path), workers=1)
    assert collect.main(options)["recorded"] == 18 * 6
    store = RolloutStore(tmp_path / "run" / "rollouts", "carracing")
    assert [len(part.lengths) for part in store.parts] == [16, 2] and store.size == 108
    assert collect.main(options)["recorded"] == 0
    with pytest.raises(BrokenStore, match="without an episode"):
        collect.main(collect.CollectOptions(tmp_path / "other", task="carracing", from_npz=str(tmp_path / "none")))


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
        found = collect.main(collect.CollectOptions(tmp_path / name, from_minari=place, **options))
        assert found["recorded"] == 17 * 6
        first = RolloutStore(tmp_path / name / "rollouts", "carracing").parts[0]
        np.testing.assert_array_equal(first.read(0, 6), FRAMES)
        np.testing.assert_array_equal(first.actions[:6], ACTIONS)
        assert first.rewards is not None and first.rewards[:6].tolist() == rewards and bool(first.terminated.all())
    with pytest.raises(BrokenStore, match="minari download toys/bus-v0"):
        collect.main(collect.CollectOptions(tmp_path / "other", from_minari="toys/bus-v0", **options))
