"""The episode store: complete writes, refusal of damaged parts, splits, and blocks of frames that can be resumed."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from tests.helpers import synthetic_episodes, synthetic_store
from training.data import episode_store as rollouts
from training.data.episode_store import PARTS_A_ROUND, RolloutStore, part_path, read_part, write_part
from training.data.frame_batches import FrameBlocks
from wm_envs.errors import BrokenStore, NoSpace
from wm_envs.files import seal, unseal

LENGTHS = [37, 50, 13]


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return write_part(tmp_path, 0, synthetic_episodes(LENGTHS), {"task": "takecover", "seed": 3})


def test_part_round_trip(part: Path) -> None:
    episodes, found = synthetic_episodes(LENGTHS), read_part(part, "takecover")
    assert found.index == 0 and found.size == 100 and found.attributes["seed"] == 3
    assert np.array_equal(found.read(0, 100), np.concatenate([e.frames for e in episodes]))
    assert np.array_equal(found.read(30, 40), np.concatenate([e.frames for e in episodes])[30:40])
    assert np.array_equal(found.actions, np.concatenate([e.actions for e in episodes]))
    assert found.lengths.tolist() == LENGTHS and found.terminated.tolist() == [True, True, False]
    assert found.actions.dtype == np.float32 and found.terminated.dtype == np.bool_


def test_frames_and_actions_of_zeros_round_trip(tmp_path: Path) -> None:
    """Chunks of zeros, which zarr can omit, are written and read like others."""
    episodes = synthetic_episodes([70], terminated=[False])
    episodes[0].frames[:] = 0
    episodes[0].actions[:] = 0
    found = read_part(write_part(tmp_path, 0, episodes, {"task": "takecover"}))
    assert not found.read(0, 70).any() and not found.actions.any() and not found.terminated.any()


def test_part_with_shards_round_trip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollouts, "SHARD", 64)
    episodes = synthetic_episodes([100, 40])
    found = read_part(write_part(tmp_path, 5, episodes, {"task": "takecover"}))
    assert found.index == 5
    assert np.array_equal(found.read(0, 140), np.concatenate([e.frames for e in episodes]))


def test_writing_leaves_no_temporary_folder(part: Path) -> None:
    assert [path.name for path in part.parent.iterdir()] == [part.name]


def test_half_written_part_is_ignored(part: Path) -> None:
    half = part.with_name(f".{part_path(part.parent, 1).name}.123.tmp")
    shutil.copytree(part, half)
    (half / "zarr.json").unlink()
    assert [found.index for found in RolloutStore(part.parent, "takecover").parts] == [0]


def test_writing_again_replaces_the_part(part: Path) -> None:
    write_part(part.parent, 0, synthetic_episodes([20]), {"task": "takecover"})
    assert read_part(part).size == 20


def chunks(part: Path, array: str) -> list[Path]:
    return sorted(path for path in (part / array / "c").rglob("*") if path.is_file())


def flip(path: Path, where: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(where * (len(data) - 1))] ^= 0x40
    path.write_bytes(data)


def replaced(name: str, data: Any) -> Callable[[Path], None]:
    """Damage that replaces an array of the part."""

    def damage(part: Path) -> None:
        shutil.rmtree(part / name)
        zarr.open_group(part, mode="r+").create_array(name, data=np.asarray(data))

    return damage


def attribute(name: str, value: Any) -> Callable[[Path], None]:
    def damage(part: Path) -> None:
        attributes = zarr.open_group(part, mode="r+").attrs
        attributes.put(seal(unseal(attributes.asdict()) | {name: value}))

    return damage


BROKEN: dict[str, Callable[[Path], Any]] = {
    "another seed": lambda part: zarr.open_group(part, mode="r+").attrs.update({"seed": 7}),
    "format": attribute("format", "other"),
    "version": attribute("version", 7),
    "task": attribute("task", "chess"),
    "no header": lambda part: (part / "zarr.json").unlink(),
    "header cut": lambda part: (part / "zarr.json").write_text("{"),
    "no frames": lambda part: shutil.rmtree(part / "frames"),
    "no terminated": lambda part: shutil.rmtree(part / "terminated"),
    "frames' header cut": lambda part: (part / "frames" / "zarr.json").write_text("{"),
    "actions flipped": lambda part: flip(chunks(part, "actions")[0], 0.5),
    "lengths flipped": lambda part: flip(chunks(part, "lengths")[0], 0.5),
    "actions cut": lambda part: os.truncate(chunks(part, "actions")[0], 10),
    "actions gone": lambda part: chunks(part, "actions")[0].unlink(),
    "terminated gone": lambda part: chunks(part, "terminated")[0].unlink(),
    "lengths of another sum": replaced("lengths", np.array([37, 50, 14], np.int32)),
    "a length of 0": replaced("lengths", np.array([50, 50, 0], np.int32)),
    "a negative length": replaced("lengths", np.array([60, 50, -10], np.int32)),
    "fewer deaths": replaced("terminated", np.array([True, False])),
    "fewer actions": replaced("actions", np.zeros((99, 1), np.float32)),
    "actions not finite": replaced("actions", np.full((100, 1), np.nan, np.float32)),
    "actions of doubles": replaced("actions", np.zeros((100, 1))),
    "actions without axis": replaced("actions", np.zeros(100, np.float32)),
    "actions of another game": replaced("actions", np.zeros((100, 3), np.float32)),
    "frames of another size": replaced("frames", np.zeros((100, 32, 32, 3), np.uint8)),
    "frames of floats": replaced("frames", np.zeros((100, 64, 64, 3), np.float32)),
}


@pytest.mark.parametrize("damage", BROKEN.values(), ids=BROKEN.keys())
def test_broken_part_is_refused(part: Path, damage: Callable[[Path], Any]) -> None:
    damage(part)
    with pytest.raises(BrokenStore) as raised:
        RolloutStore(part.parent, "takecover")
    assert str(part) in str(raised.value)


@pytest.mark.parametrize("where", [0.0, 0.01, 0.5, 1.0])
@pytest.mark.parametrize("shard", [64, 4096], ids=["sharded", "plain"])
def test_flipped_byte_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard: int, where: float) -> None:
    monkeypatch.setattr(rollouts, "SHARD", shard)
    path = write_part(tmp_path, 0, synthetic_episodes([64]), {"task": "takecover"})
    flip(chunks(path, "frames")[0], where)
    with pytest.raises(BrokenStore, match=path.name):
        read_part(path).read(0, 64)


LOSS = {"gone": Path.unlink, "cut": lambda path: os.truncate(path, 100), "empty": lambda path: os.truncate(path, 0)}


@pytest.mark.parametrize("damage", LOSS.values(), ids=LOSS.keys())
def test_missing_chunk_is_an_error(part: Path, damage: Callable[[Path], Any]) -> None:
    damage(chunks(part, "frames")[1])
    with pytest.raises(BrokenStore, match=part.name):
        read_part(part).read(0, 100)


def good(folder: Path, index: int) -> Path:
    return write_part(folder, index, synthetic_episodes([9]), {"task": "takecover"})


@pytest.mark.parametrize("make", [
    lambda folder: None,
    lambda folder: folder.mkdir(),
    lambda folder: folder.write_text("a file"),
    lambda folder: (folder / "part-00000.zarr").mkdir(parents=True),
    lambda folder: good(folder, 0).rename(folder / "part-old.zarr"),
    lambda folder: (folder / "part-00000.zarr").symlink_to(good(folder, 1)),
], ids=["none", "empty", "a file", "a bare part", "a renamed part", "a link"])  # fmt: skip
def test_folder_without_valid_parts_is_refused(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    make(tmp_path / "store")
    with pytest.raises(BrokenStore, match="store"):
        RolloutStore(tmp_path / "store", "takecover")


def test_split_holds_out_whole_parts(tmp_path: Path) -> None:
    for index in (0, 15, 16, 31, 10_000):
        write_part(tmp_path, index, synthetic_episodes([9], seed=index), {"task": "takecover"})
    store = RolloutStore(tmp_path, "takecover")
    assert [[part.index for part in parts] for parts in store.split()] == [[0, 16, 10_000], [15, 31]]
    assert store.size == 45


def test_every_round_of_several_parts_is_held_out_from(tmp_path: Path) -> None:
    for index in (*range(20), 10_000, 10_001, 10_002, 20_000):
        write_part(tmp_path, index, synthetic_episodes([5], seed=index), {"task": "takecover"})
    training, held = RolloutStore(tmp_path, "takecover").split()
    assert [part.index for part in held] == [15, 10_002] and len(training) == 22


def test_split_has_parts_on_both_sides(tmp_path: Path) -> None:
    synthetic_store(tmp_path, parts=1)
    one = RolloutStore(tmp_path / "rollouts").split()
    assert [[part.index for part in parts] for parts in one] == [[0], [0]]
    synthetic_store(tmp_path, parts=3)
    three = RolloutStore(tmp_path / "rollouts").split()
    assert [[part.index for part in parts] for parts in three] == [[0, 1], [2]]


def test_blocks_depend_only_on_seed_and_index(tmp_path: Path) -> None:
    parts = RolloutStore(synthetic_store(tmp_path) / "rollouts").parts
    blocks = FrameBlocks(parts, seed=4, chunks=8, per_chunk=5)
    frames, neighbours = blocks.read(3)
    assert frames.shape == neighbours.shape == (40, 64, 64, 3) == (blocks.block_size, 64, 64, 3)
    again = FrameBlocks(RolloutStore(tmp_path / "rollouts").parts, seed=4, chunks=8, per_chunk=5)
    stream = again.stream(2)
    next(stream)
    for ours, theirs in zip((frames, neighbours), next(stream), strict=True):
        assert np.array_equal(ours, theirs)
    stream.close()
    assert not np.array_equal(frames, blocks.read(4)[0])
    assert not np.array_equal(frames, FrameBlocks(parts, seed=5, chunks=8, per_chunk=5).read(3)[0])


def test_neighbours_are_lag_ticks_away(tmp_path: Path) -> None:
    episodes = synthetic_episodes([96])
    for tick, frame in enumerate(episodes[0].frames):
        frame[:] = tick
    write_part(tmp_path, 0, episodes, {"task": "takecover"})
    frames, neighbours = FrameBlocks(RolloutStore(tmp_path).parts, seed=0, chunks=30, per_chunk=9).read(0)
    ticks, near = (frames[:, 0, 0, 0].astype(int), neighbours[:, 0, 0, 0].astype(int))
    assert set(np.abs(ticks - near)) == {4} and (ticks // 32 == near // 32).all()
    assert len(set(ticks)) > 80


def test_neighbours_are_of_the_same_episode(tmp_path: Path) -> None:
    episodes = synthetic_episodes([30, 3, 6, 40, 17])
    for number, episode in enumerate(episodes):
        for tick, frame in enumerate(episode.frames):
            frame[:] = number, tick, 0
    write_part(tmp_path, 0, episodes, {"task": "takecover"})
    frames, neighbours = FrameBlocks(RolloutStore(tmp_path).parts, seed=0, chunks=40, per_chunk=20).read(0)
    (number, tick), (near_number, near) = (each[:, 0, 0, :2].astype(int).T for each in (frames, neighbours))
    assert set(number) == {0, 1, 2, 3, 4} and (number == near_number).all()
    assert set(near - tick) == {-4, 0, 4}
    assert (near == tick)[number == 1].all() and (near != tick)[(number == 0) & (tick < 26)].all()


@pytest.mark.parametrize("where", ["os.rename", "os.fsync", "zarr.Group.create_array", "zarr.create_group"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_leaves_the_old_part(part: Path, monkeypatch: pytest.MonkeyPatch, where: str, code: int) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(where, full)
        with pytest.raises(NoSpace, match="free some space"):
            write_part(part.parent, 0, synthetic_episodes([20]), {"task": "takecover"})
    assert [path.name for path in part.parent.iterdir()] == [part.name]
    assert read_part(part).size == 100


def test_store_of_the_first_rounds(tmp_path: Path) -> None:
    for index in (0, 1, PARTS_A_ROUND, 2 * PARTS_A_ROUND, 10 * PARTS_A_ROUND):
        write_part(tmp_path, index, synthetic_episodes([5]), {"task": "takecover"})
    found = [[part.index for part in RolloutStore(tmp_path, rounds=rounds).parts] for rounds in (0, 1, 2, 11)]
    assert [len(parts) for parts in found] == [5, 2, 3, 5]
    shutil.rmtree(part_path(tmp_path, 0))
    shutil.rmtree(part_path(tmp_path, 1))
    with pytest.raises(BrokenStore, match="rounds up to 0"):
        RolloutStore(tmp_path, rounds=1)
