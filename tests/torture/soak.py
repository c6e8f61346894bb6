"""An hour of mixed work in one process: `python -m tests.torture.soak [MINUTES]`.

Batches of dreams of all shipped worlds, real games that start anew, collecting, a little training of V and M, a few
generations of CMA-ES, in turns. Memory, file descriptors and processes are taken after each turn. Prints one line of
JSON, with the slope of memory in MiB an hour and its 95% interval over the second half of the turns; fails when
descriptors or processes grow, or memory does beyond doubt.
"""

import contextlib
import io
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

import wm_envs  # noqa: F401 (registers the ids)
from tests.helpers import make_tiny_world, synthetic_store
from tests.torture import kills

MOST = 60.0  # MiB an hour that memory may surely grow by; 0.1 MiB a game was some 150


def dreams(name: str) -> None:
    """200 steps of 64 dreams."""
    envs = gym.make_vec(name, num_envs=64)
    envs.reset()
    for _ in range(200):
        envs.step(envs.action_space.sample())
    envs.close()


def games(name: str, **how: Any) -> None:
    """Two real games, a few episodes long."""
    envs = gym.make_vec(name, num_envs=2, **how)
    envs.reset()
    for _ in range(200):
        envs.step(envs.action_space.sample())
    envs.close()


def stages(parent: Path) -> None:
    """Collecting, V, M and CMA-ES, each from nothing."""
    with tempfile.TemporaryDirectory(dir=parent) as home:
        run = Path(home)
        synthetic_store(run)
        make_tiny_world(run / "tiny/round-0/world")
        for stage, folder in (("collect", "drive"), ("vision", ""), ("memory", ""), ("evolve", "tiny")):
            kills.STAGES[stage][1](run / folder)


def taken() -> tuple[float, int, int]:
    """Resident memory in MiB, open file descriptors, child processes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    children = sum(len(path.read_text().split()) for path in Path("/proc/self/task").glob("*/children"))
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(os.listdir("/proc/self/fd")), children


def slope(hours: np.ndarray, memory: np.ndarray) -> tuple[float, float]:
    """MiB an hour by least squares, and half its 95% interval."""
    centred = hours - hours.mean()
    found = float(centred @ memory / (centred @ centred))
    rest = memory - memory.mean() - found * centred
    return found, 1.96 * float(np.sqrt(rest @ rest / max(1, len(hours) - 2) / (centred @ centred)))


def soak(minutes: float) -> dict[str, Any]:
    """Work in turns for so long."""
    kills.make_small()
    turns = []
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() - start < 60 * minutes or len(turns) < 6:  # a slope wants some points
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                for name in ("WMDream-v0", "WMDreamCarRacing-v0"):
                    dreams(name)
                games("WMTakeCover-v0")
                games("WMCarRacing-v0", renderer="fast")
                stages(Path(folder))
            turns.append(((time.monotonic() - start) / 3600, *taken()))
            print(f"turn {len(turns)}: {turns[-1][1]:.0f} MiB, {turns[-1][2:]}", file=sys.stderr, flush=True)
    hours, memory, descriptors, children = np.array(turns[len(turns) // 2 :]).T
    grows, interval = slope(hours, memory)
    assert descriptors.max() <= descriptors[0] and children.max() <= children[0], turns
    assert minutes < 30 or grows - interval < MOST, f"memory grows by {grows} +- {interval} MiB an hour: {turns}"
    return {
        "minutes": minutes, "turns": len(turns), "MiB": round(float(memory[-1])), "MiB_an_hour": round(grows, 1),
        "interval": round(interval, 1), "descriptors": int(descriptors[-1]), "processes": int(children[-1]),
    }  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    print(json.dumps(soak(float(sys.argv[1]) if len(sys.argv) > 1 else 60)))
