"""Episodes that others recorded: folders of .npz files, and Minari datasets of pixels.

Two layouts of .npz files, one episode each, are known. The authors' has `obs` (T, H, W, 3) and `action`: frame t is
what the player saw before action t. The PyTorch one of ctallec has `observations`, `actions`, `rewards` and
`terminals`: frame t is what came of action t. Either may have rewards and ends. Pickled arrays are refused.
A Minari dataset is a folder, or the id of one that is downloaded already.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.episode_store import Episode
from wm_envs.errors import BrokenStore, MissingPackage
from wm_envs.games.base import FRAME_SHAPE, Array, Task
from wm_envs.games.gym_env.frames import small

NPZ, MINARI = "npz", "minari"
EPISODES_A_PART = 16
BEFORE, AFTER = ("obs", "observation"), ("observations",)  # names of frames before the action, and after it
NAMES = {"actions": ("action", "actions"), "rewards": ("reward", "rewards"), "ends": ("done", "dones", "terminals")}


@dataclass(frozen=True)
class Recording:
    """Where recorded episodes are."""

    kind: str  # NPZ or MINARI
    place: str  # a folder, or a dataset's id

    def count(self) -> int:
        """The number of episodes; raises `BrokenStore` if there is none."""
        found = len(_files(self.place)) if self.kind == NPZ else int(_dataset(self.place).total_episodes)
        if not found:
            wanted = "a folder of .npz files" if self.kind == NPZ else "a dataset with episodes"
            raise BrokenStore(f"from_{self.kind}", f"{self.place}, without an episode", wanted, "give another one")
        return found

    def read(self, part: int, task: Task) -> list[Episode]:
        """The episodes of part 0, 1, ...; raises `BrokenStore`."""
        at = slice(part * EPISODES_A_PART, (part + 1) * EPISODES_A_PART)
        if self.kind == NPZ:
            return [read_npz(path, task) for path in _files(self.place)[at]]
        dataset = _dataset(self.place)
        return [read_minari(episode, task) for episode in dataset.iterate_episodes(dataset.episode_indices[at])]


# --- .npz -----------------------------------------------------------------------------------------------


def _files(folder: str) -> list[Path]:
    return sorted(Path(folder).rglob("*.npz"))


def read_npz(path: Path, task: Task) -> Episode:
    """One episode of T ticks, its frames resized to 64 x 64; raises `BrokenStore` for anything else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return _from_arrays({name: file[name] for name in file.files}, task)
    except Exception as error:  # zip, numpy and the checks below have many classes
        raise BrokenStore(
            "from_npz", f"{path} ({error})", "obs and action, or observations, actions, rewards and terminals",
            "remove the file, or write it without pickled arrays",
        ) from error  # fmt: skip


def _from_arrays(arrays: dict[str, NDArray[Any]], task: Task) -> Episode:
    before, after = (next((arrays[name] for name in names if name in arrays), None) for names in (BEFORE, AFTER))
    frames = after if before is None else before
    if frames is None or not len(frames):
        raise ValueError(f"it has {sorted(arrays)}, no frames")
    found = {kind: next((arrays[name] for name in names if name in arrays), None) for kind, names in NAMES.items()}
    actions, rewards, ends = found["actions"], found["rewards"], found["ends"]
    if actions is None:
        raise ValueError(f"it has {sorted(arrays)}, no actions")
    ended = ends is None or bool(np.ravel(ends)[-1])
    if before is None:  # a frame came of its action, so the next action is the one taken at it
        frames, actions, rewards = frames[:-1], actions[1:], None if rewards is None else rewards[1:]
    return as_episode(frames, actions, rewards, ended and len(actions) < task.timing.tick_limit, task)


# --- Minari ---------------------------------------------------------------------------------------------


def _dataset(place: str) -> Any:
    try:
        import minari
    except ImportError as error:
        fix = "pip install 'wm-envs[minari]'"
        raise MissingPackage("from_minari", f"no package {error.name!r}", "the extra 'minari'", fix) from error
    try:
        folder = Path(place)
        data = folder / "data" if (folder / "data").is_dir() else folder
        return minari.MinariDataset(data) if folder.is_dir() else minari.load_dataset(place)
    except Exception as error:  # h5py, json and minari itself have many classes
        fix = f"minari download {place}" if not Path(place).exists() else "download it again"
        raise BrokenStore("from_minari", f"{place} ({error})", "a Minari dataset", fix) from error


def read_minari(episode: Any, task: Task) -> Episode:
    """One of Minari's episodes, whose observations (T + 1, H, W, C) are pictures; raises `BrokenStore`."""
    try:
        frames = np.asarray(episode.observations)[:-1]
        ended = bool(np.ravel(episode.terminations)[-1])
        return as_episode(frames, np.asarray(episode.actions), np.asarray(episode.rewards), ended, task)
    except Exception as error:
        given = f"episode {episode.id} ({error})"
        raise BrokenStore("from_minari", given, f"pixels and actions of {task.title}", "give another one") from error


# --- both -----------------------------------------------------------------------------------------------


def as_episode(
    frames: NDArray[Any], actions: NDArray[Any], rewards: NDArray[Any] | None, terminated: bool, task: Task
) -> Episode:
    """An episode of T ticks from pictures (T, ...), actions of the game (T, ...) and rewards (T,); raises `ValueError`,
    or `BrokenGame` for other pictures."""
    if rewards is None and not task.rewards.survival:
        raise ValueError("it has no rewards")
    lengths = {len(values) for values in (frames, actions, rewards) if values is not None}
    if len(lengths) > 1:
        raise ValueError(f"its arrays have the lengths {sorted(lengths)}")
    paid = None if rewards is None or task.rewards.survival else np.ravel(rewards).astype(np.float32)
    if paid is not None and not np.isfinite(paid).all():
        raise ValueError("its rewards are not all finite")
    return Episode(np.stack(list(_resized(frames))), _vectors(actions, task), terminated, paid)


def _vectors(given: NDArray[Any], task: Task) -> Array:
    """Vectors (T, A) as M sees them, of the game's own actions."""
    if task.actions.own is not None:
        low, high = task.actions.own.limits
        values = given.reshape(len(given), *task.actions.own.shape)
        if not ((values >= low) & (values <= high)).all():
            raise ValueError(f"its actions are not in {task.actions.own.space}")
        return task.actions.own.encode(values)
    vectors = given.reshape(len(given), task.actions.size).astype(np.float32)
    if not np.isfinite(vectors).all() or np.abs(vectors).max() > 1:
        raise ValueError("its actions are not all from -1 to 1")
    # Take Cover's are the agent's, those of other games are the game's own already.
    return task.actions.to_game(vectors) if task.rewards.survival else vectors


def _resized(frames: NDArray[Any]) -> Iterator[NDArray[np.uint8]]:
    for frame in frames:
        plain = frame.dtype == np.uint8 and frame.shape == FRAME_SHAPE
        yield frame if plain else small(frame)
