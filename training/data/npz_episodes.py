"""Episodes that other world-model repositories recorded: a folder of .npz files, one episode each.

Two layouts are known. The authors' has `obs` (T, H, W, 3) and `action`: frame t is what the player saw before action t.
The PyTorch one of ctallec has `observations`, `actions`, `rewards` and `terminals`: frame t is what came of action t.
Either may have rewards (`reward`, `rewards`) and ends (`done`, `dones`, `terminals`). Pickled arrays are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.episode_store import Episode
from wm_envs.errors import BrokenStore
from wm_envs.games.base import FRAME_SHAPE, Array, Task
from wm_envs.games.gym_env.frames import small

BEFORE, AFTER = ("obs", "observation"), ("observations",)  # names of frames before the action, and after it
NAMES = {"actions": ("action", "actions"), "rewards": ("reward", "rewards"), "ends": ("done", "dones", "terminals")}


def npz_files(folder: Path) -> list[Path]:
    """The files of a folder and those below it, in order; raises `BrokenStore` if there is none."""
    found = sorted(folder.rglob("*.npz"))
    if not found:
        raise BrokenStore("from_npz", f"{folder}, without a .npz file", "a folder of episodes", "give another folder")
    return found


def read_npz(path: Path, task: Task) -> Episode:
    """One episode of T ticks, its frames resized to 64 x 64; raises `BrokenStore` for anything else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return _episode(arrays, task)
    except BrokenStore:
        raise
    except Exception as error:  # zip, numpy and the checks below have many classes
        raise BrokenStore(
            "from_npz", f"{path} ({error})", "obs and action, or observations, actions, rewards and terminals",
            "remove the file, or write it without pickled arrays",
        ) from error  # fmt: skip


def _episode(arrays: dict[str, NDArray[Any]], task: Task) -> Episode:
    before, after = (next((arrays[name] for name in names if name in arrays), None) for names in (BEFORE, AFTER))
    frames = after if before is None else before
    if frames is None or not len(frames):
        raise ValueError(f"it has {sorted(arrays)}, no frames")
    found = {kind: next((arrays[name] for name in names if name in arrays), None) for kind, names in NAMES.items()}
    if found["actions"] is None or (found["rewards"] is None and not task.survival):
        raise ValueError(f"it has {sorted(arrays)}, no {'actions' if found['actions'] is None else 'rewards'}")
    lengths = {len(values) for values in found.values() if values is not None} | {len(frames)}
    if len(lengths) > 1:
        raise ValueError(f"its arrays have the lengths {sorted(lengths)}")
    ended = found["ends"] is None or bool(np.ravel(found["ends"])[-1])
    if before is None:  # a frame came of its action, so the next action is the one taken at it
        frames, found = frames[:-1], {kind: None if values is None else values[1:] for kind, values in found.items()}
    actions = _actions(np.asarray(found["actions"]), task)
    rewards = None if task.survival else np.asarray(found["rewards"], np.float32).ravel()
    if rewards is not None and not np.isfinite(rewards).all():
        raise ValueError("its rewards are not all finite")
    return Episode(np.stack(list(_resized(frames))), actions, ended and len(actions) < task.tick_limit, rewards)


def _actions(given: NDArray[Any], task: Task) -> Array:
    """Vectors (T, A) as M sees them, of the game's own actions."""
    if task.own_actions is not None:
        shape = (len(given), *task.own_actions.shape)
        low, high = task.own_actions.limits
        values = given.reshape(shape)
        if not ((values >= low) & (values <= high)).all():
            raise ValueError(f"its actions are not in {task.own_actions.space}")
        return task.own_actions.encode(values)
    vectors = given.reshape(len(given), task.action_size).astype(np.float32)
    if not np.isfinite(vectors).all() or np.abs(vectors).max() > 1:
        raise ValueError("its actions are not all from -1 to 1")
    # Take Cover's are the agent's, those of other games are the game's own already.
    return task.game_action(vectors) if task.survival else vectors


def _resized(frames: NDArray[Any]) -> Iterator[NDArray[np.uint8]]:
    for frame in frames:
        plain = frame.dtype == np.uint8 and frame.shape == FRAME_SHAPE
        yield frame if plain else small(frame)
