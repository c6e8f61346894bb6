"""Environments in forked and spawned worker processes, with torch's own number of threads in the parent."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="fork is for Linux")

HEAVY = """
import torch
torch.set_num_threads(2)
x = torch.randn(600, 600)
for _ in range(3):
    x @ x, torch.randn(500_000).exp_()  # starts the threads of the pool
"""
ASYNC = """
import gymnasium as gym, wm_envs
if __name__ == "__main__":
    envs = gym.make_vec({name!r}, num_envs=2, vectorization_mode="async", vector_kwargs={{"context": {context!r}}},
                        world={world!r})
    envs.reset(seed=0)
    envs.step(envs.action_space.sample())
    envs.close()
    print("stepped")
"""
IN_A_CHILD = """
import multiprocessing
def child():
    import gymnasium as gym
    env = gym.make("wm_envs:WMDream-v0", world={world!r}, observation="pixels")
    env.reset(seed=0)
    env.step(env.action_space.sample())
    torch.randn(500_000).exp_()
    print("stepped", flush=True)
worker = multiprocessing.get_context("fork").Process(target=child)
worker.start()
worker.join(60)
worker.kill()
"""
IN_BOTH = """
import os, gymnasium as gym, wm_envs
env = gym.make("WMDream-v0", world={world!r})
env.reset(seed=0)
if os.fork() == 0:
    env.step(env.action_space.sample())
    torch.randn(500_000).exp_()
    print("stepped", flush=True)
    os._exit(0)
os.wait()
"""


def run(code: str, folder: Path) -> str:
    """What a script prints that is run without OMP_NUM_THREADS."""
    script = folder / "script.py"
    script.write_text(code)
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=folder, env=environment | {"PYTHONPATH": str(ROOT)}, timeout=100,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(("name", "context", "extra"), [
    ("WMDream-v0", "fork", "torch"), ("WMTakeCover-v0", "fork", "vizdoom"),
    *[pytest.param(*slow, marks=pytest.mark.slow) for slow in (
        ("wm_envs:WMDream-v0", "spawn", "torch"), ("WMDreamCarRacing-v0", "fork", "torch"),
        ("WMCarRacing-v0", "fork", "Box2D"),
    )],
])  # fmt: skip
def test_async_vector(tiny_world: Path, tiny_drive: Path, tmp_path: Path, name: str, context: str, extra: str) -> None:
    pytest.importorskip(extra)
    world = tiny_drive if "CarRacing" in name else tiny_world
    assert run(HEAVY + ASYNC.format(name=name, context=context, world=str(world)), tmp_path) == "stepped"


@pytest.mark.parametrize("code", [IN_A_CHILD, IN_BOTH], ids=["imported in the child", "made in the parent"])
def test_a_fork_of_a_process_that_has_used_torch(tiny_world: Path, tmp_path: Path, code: str) -> None:
    assert run(HEAVY + code.format(world=str(tiny_world)), tmp_path) == "stepped"


FORKED_GAME = """
import gc, os, signal, sys, time
import numpy as np
from wm_envs.games.take_cover import engine_cleanup as cleanup
from wm_envs.games.take_cover.game import TakeCoverGame
game = TakeCoverGame()
game.reset(1)
reader, writer = os.pipe()
child = os.fork()
if child == 0:
    {child}
time.sleep(0.2)
if os.read(reader, 1) == b"w":
    os.kill(child, signal.SIGTERM)
pid, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), game.advance(np.zeros(1), 2).ticks, len(cleanup.engines_of(os.getpid())))
game.close()
print(len(cleanup.engines_of(os.getpid())), game.scratch.exists())
"""
# What the child does, and how it ends; the parent's game plays on.
CHILDREN = {
    "deletes it": ("del game; gc.collect(); os.write(writer, b'd'); sys.exit(0)", 0),
    "closes it": ("game.close(); cleanup.sweep(); os.write(writer, b'd'); sys.exit(0)", 0),
    "exits": ("os.write(writer, b'd'); sys.exit(3)", 3),
    # The thread of a native call that never comes back: Python's own handlers would not run.
    "hangs in native code": ("os.write(writer, b'w'); sys.set_int_max_str_digits(0); str(7 ** 40_000_000)", -15),
}


@pytest.mark.parametrize(("child", "ended"), CHILDREN.values(), ids=CHILDREN)
def test_a_forked_child_leaves_its_parents_game_alone(tmp_path: Path, child: str, ended: int) -> None:
    pytest.importorskip("vizdoom")
    assert run(FORKED_GAME.format(child=child), tmp_path).splitlines() == [f"{ended} 2 1", "0 False"]
