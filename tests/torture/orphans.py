"""Violent ends of real games and of pools of them: `python -m tests.torture.orphans [TIMES] [SEED]`.

A process that starts, or plays, real games of Doom, by itself or in worker processes, is ended at a random moment
by SIGKILL, SIGTERM or Ctrl-C. Then another game is opened and closed, as at a next start. After that there must be no
engine, no worker, no shared memory and no temporary folder of it. A stranger's engine, which runs all the while, must
go on running. Prints one line of JSON.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
ALONE = """
from wm_envs.games.take_cover.game import TakeCoverGame
import numpy as np
print("began", flush=True)
games = [TakeCoverGame() for _ in range(2)]
print("plays", flush=True)
while True:
    for seed, game in enumerate(games):
        game.reset(seed)
        while not game.advance(np.ones(1, np.float32), 4).terminated:
            pass
"""
POOL = """
import numpy as np
from training.infra.pool import Workers, run_jobs
from wm_envs.games.take_cover.game import TakeCoverGame

def play(seed):
    game = TakeCoverGame()
    game.reset(seed)
    while not game.advance(np.ones(1, np.float32), 4).terminated:
        pass
    game.close()

if __name__ == "__main__":
    print("began", flush=True)
    print("plays", flush=True)
    for _ in run_jobs(play, list(range(1000)), Workers(2)):
        pass
"""
NEXT = """
from wm_envs.games.take_cover.game import TakeCoverGame
print("began", flush=True)
TakeCoverGame().close()
"""
ENDS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}
LATEST = 5.0  # seconds after it began that a process is ended, at most
SETTLES = 2.0  # seconds until the next start: workers notice that their parent is gone
PATIENCE = 15.0  # seconds that what was told to end may take


def processes(home: Path) -> dict[int, str]:
    """Living processes whose temporary folder is `home`, by id, with their names."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = (folder / "stat").read_text()
            if f"TMPDIR={home}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                name, _, rest = state.partition("(")[2].rpartition(")")
                if rest.split()[0] != "Z":
                    found[int(folder.name)] = name
        except OSError:
            continue  # it ended, or is not ours
    return found


def segments() -> set[str]:
    """Names of ViZDoom's shared memory on this machine."""
    return {path.name for path in Path("/dev/shm").glob("ViZDoom*")}


def left(home: Path, before: set[str]) -> dict[str, Any]:
    """What is still there of everything that lived in `home`."""
    found = {"processes": processes(home), "memory": segments() - before, "folders": [p.name for p in home.iterdir()]}
    return {name: what for name, what in found.items() if what}


def begun(script: Path, home: Path) -> subprocess.Popen[str]:
    """A process of `script` that has imported all it needs."""
    process = subprocess.Popen(
        [sys.executable, str(script)], cwd=ROOT, env=os.environ | {"TMPDIR": str(home), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "began\n"
    return process


def torture(times: int, seed: int) -> dict[str, Any]:
    """End `times` processes, of each kind and by each signal in turn."""
    with tempfile.TemporaryDirectory(prefix="orphans-") as folder:
        ours, strange = Path(folder) / "ours", Path(folder) / "stranger"
        scripts = {}
        for name, text in (("file_lock", ALONE), ("pool", POOL), ("next", NEXT)):
            scripts[name] = Path(folder) / f"{name}.py"
            scripts[name].write_text(text)
        others, strange_memory = segments(), set()
        for home in (ours, strange):
            home.mkdir()
        try:
            stranger = begun(scripts["file_lock"], strange)
            assert stranger.stdout is not None and stranger.stdout.readline() == "plays\n"
            strange_memory = segments() - others
            engines = processes(strange)
            ends = end_each(scripts, ours, times, np.random.default_rng(seed))
            assert stranger.poll() is None and processes(strange) == engines, "a stranger's games were touched"
        finally:
            for pid in [*processes(ours), *processes(strange)]:
                os.kill(pid, signal.SIGKILL)
            for name in strange_memory:
                (Path("/dev/shm") / name).unlink(missing_ok=True)
    return {"ends": times, **ends, "left": 0}


def end_each(scripts: dict[str, Path], home: Path, times: int, rng: np.random.Generator) -> dict[str, int]:
    """How often each kind was ended by each signal; raises when one left something."""
    ends: dict[str, int] = {}
    before = segments()
    for number in range(times):
        kind, end = ("file_lock", "pool")[number % 2], list(ENDS)[number // 2 % 3]
        process = begun(scripts[kind], home)
        time.sleep(rng.uniform(0, LATEST))
        process.send_signal(ENDS[end])
        process.wait(60)
        time.sleep(SETTLES)
        assert begun(scripts["next"], home).wait(120) == 0
        until = time.monotonic() + PATIENCE
        while (found := left(home, before)) and time.monotonic() < until:
            time.sleep(0.1)
        assert not found, f"{number}: {kind} ended by {end} left {found}"
        ends[f"{kind} {end}"] = ends.get(f"{kind} {end}", 0) + 1
    return ends


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    print(json.dumps(torture(*(numbers + [200, 0][len(numbers) :]))))
