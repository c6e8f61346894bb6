"""Harm at every write of every stage: `python -m tests.torture.kills STAGE [TIMES] [SEED] [HARM[=TIMES] ...]`.

A stage runs in a forked process that comes to harm just before its n-th write (the opening of a file to write, an
fsync, a rename or a new folder): "kill" is SIGKILL, "interrupt" is Ctrl-C; with "full" and "readonly" that write and
all after it find no space, or may not be, and the stage must end with an error that says so. Then: what had been
renamed into place is there and can be read (`training check`), the same command goes on, and it ends with what an
uninterrupted run makes, to the bit. With "vanish" its folder is gone, and the stage must end with a typed error, or
well. With "clock" time runs backwards from that write on, and nothing else happens. Prints a line of JSON a harm.
"""

import builtins
import dataclasses
import errno
import hashlib
import io
import itertools
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tqdm.std
import zarr
from safetensors.torch import load_file

import training.stages.vision
from experiments import ablate
from tests import helpers
from tests.helpers import TINY, TINY_DRIVE, make_tiny_world, synthetic_store, tiny_model
from training.data import frame_batches
from training.infra.run_folder import RunFolder
from training.judging import battery
from training.judging.run_check import check_run
from training.pipeline import run as everything
from training.stages import collect, evaluate, evolve, fidelity, memory, ppo, publish, report, vision
from wm_envs.errors import WorldModelError
from wm_envs.games.registry import TASKS
from wm_envs.worlds.bundle import save_world

SAID = 3  # exit status of a stage that ended with the error that it should
ERRORS = {"full": errno.ENOSPC, "readonly": errno.EROFS}
PARTS = {"task": "carracing", "frames": 3, "part_frames": 1, "workers": 1}  # three parts of random play
IGNORED = ("logs", "pictures", "report.html")  # curves and pictures are not promised to be the same


# --- the stages, small --------------------------------------------------------------------------------


def run_evaluate(run: Path) -> None:
    """One episode of the real game, its score written to a file."""
    evaluate.main(evaluate.Command.flat(
        world=str(run / "round-0/world"), controller="random", episodes=1, workers=1, renderer="fast",
        scores=str(run / "s.json"),
    ))  # fmt: skip


def run_fidelity(run: Path) -> None:
    """A few scripts in the dream and in the game, whose real returns are kept."""
    fidelity.main(fidelity.Command.flat(
        world=str(run / "round-0/world"), episodes=2, dreams=4, workers=1, cache=str(run / "cache.json")
    ))  # fmt: skip


def run_publish(run: Path) -> None:
    """A bundle, made twice: the second one replaces the first."""
    for temperature in (1.0, 1.2):
        options = {"world": str(run / "round-0/world"), "to": str(run / "bundle"), "temperature": temperature}
        publish.main(publish.Command.flat(**options))


def run_ablate(run: Path) -> None:
    """A table with two learners in the game, and random play."""
    ablate.main(ablate.Command.flat(
        run=run, steps=64, hidden_sizes=(4,), validate_episodes=1, episodes=1, renderer="fast", workers=1
    ))  # fmt: skip


def run_run(run: Path) -> None:
    """Everything from nothing: a round of random play, a round of its own, the evaluation and the report."""
    everything.main(everything.Run(
        run=run, task="carracing", rounds=1, own_frames=100, learner="evolve", workers=1,
        collect=collect.CollectConfig(frames=200),
        vision=vision.of_kind("conv-vae", batches=3, channels=TINY.vision.channels),
        memory=memory.of_kind("mdn-rnn", steps=1, latent_dropout=0.5),
        evolve=evolve.EvolveConfig(generations=2, population=4, rollouts=2, validate_episodes=0),
        evaluate=evaluate.EvaluateConfig(episodes=1, renderer="fast"),
    ))  # fmt: skip


def with_vision(run: Path) -> None:
    """A store, and a V of random weights."""
    helpers.save_vision(synthetic_store(run))


def with_world(run: Path) -> None:
    """A world of Take Cover with a controller, and a store."""
    synthetic_store(run)
    make_tiny_world(run / "round-0/world")


def with_drive(run: Path) -> None:
    """A world of CarRacing, with steps long enough to make episodes short."""
    save_world(run / "round-0/world", tiny_model(config=dataclasses.replace(TINY_DRIVE, frame_skip=50)))


STAGES: dict[str, tuple[Callable[[Path], Any], Callable[[Path], Any]]] = {
    "collect": (Path.mkdir, lambda run: collect.main(collect.Command.flat(run=run, **PARTS))),
    "vision": (synthetic_store, lambda run: vision.main(helpers.vision_options(run, checkpoint_every=2))),
    "memory": (with_vision, lambda run: memory.main(helpers.memory_options(run, checkpoint_every=2))),
    "evolve": (with_world, lambda run: evolve.main(helpers.evolve_options(run))),
    "ppo": (with_world, lambda run: ppo.main(helpers.ppo_options(run))),
    "evaluate": (with_drive, run_evaluate),
    "fidelity": (with_drive, run_fidelity),
    "publish": (with_world, run_publish),
    "report": (with_world, lambda run: report.main(report.Command.flat(run=run))),
    "ablate": (with_drive, run_ablate),
    "run": (Path.mkdir, run_run),
}


def make_small() -> None:
    """V with few channels, blocks of few frames, drives of few ticks, batteries of few scripts."""
    blocks = frame_batches.FrameBlocks
    training.stages.vision.FrameBlocks = (  # type: ignore
        lambda parts, seed, chunks=4, objects=False: blocks(parts, seed, min(chunks, 4), objects=objects)
    )
    task = TASKS["carracing"]
    TASKS["carracing"] = dataclasses.replace(task, timing=dataclasses.replace(task.timing, tick_limit=60))
    policies = battery.open_loop_battery
    battery.open_loop_battery = lambda task: policies(task)[::6]  # type: ignore
    ppo.IN_THE_GAME = ppo.IN_THE_GAME.replace(num_envs=2, n_steps=16, batch_size=32, n_epochs=1)
    ablate.SEEN = dict(list(ablate.SEEN.items())[::4])


# --- one process, killed or not -----------------------------------------------------------------------


def in_child(work: Callable[[], Any], place: Path, harm_before: int = 0, harm: str = "kill") -> tuple[int, list[str]]:
    """Run `work` in a fork that comes to harm before its write number `harm_before` (0: never).

    Returns how many writes it made and the paths that were renamed into place; raises when it ended otherwise than it
    should.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        terminal, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs that ignore it
        try:
            count_writes(writer, place, harm_before, harm)
            work()
            os._exit(0)
        except BaseException as error:
            if harm_before and says(error, harm):
                os._exit(SAID)
            os.write(terminal, traceback.format_exc().encode())
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        told = pipe.read().splitlines()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    expected = {"kill": {-signal.SIGKILL}, "clock": {0}, "vanish": {0, SAID}}.get(harm, {SAID}) if harm_before else {0}
    if status not in expected:
        raise AssertionError(f"the stage ended with {status}, not {expected}")
    return told.count("w"), [line[2:] for line in told if line.startswith("r ")]


def says(error: BaseException, harm: str) -> bool:
    """Whether that is the error that a user should see."""
    if harm == "vanish":
        return isinstance(error, OSError | WorldModelError)
    if harm == "interrupt":
        return isinstance(error, KeyboardInterrupt)
    words = {"full": "o space left", "readonly": "ead-only file system"}[harm]
    return isinstance(error, OSError) and words in str(error)


def count_writes(pipe: int, place: Path, harm_before: int, harm: str) -> None:
    """Tell `pipe` of every write ("w") and of every rename that is done ("r PATH")."""
    made = 0

    def write() -> None:
        nonlocal made
        made += 1
        if made == harm_before and harm == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if made == harm_before and harm == "interrupt":
            signal.raise_signal(signal.SIGINT)
        if made == harm_before and harm == "vanish":
            shutil.rmtree(place)
        if made == harm_before and harm == "clock":
            ticks = itertools.count()
            time.time = tqdm.std.time = lambda: 1e9 - next(ticks)
        if 0 < harm_before <= made and harm in ERRORS:
            raise OSError(ERRORS[harm], os.strerror(ERRORS[harm]))
        os.write(pipe, b"w\n")

    def watched(function: Any, renames: bool) -> Any:
        def call(*arguments: Any, **more: Any) -> Any:
            write()
            result = function(*arguments, **more)
            if renames:
                os.write(pipe, f"r {arguments[1]}\n".encode())
            return result

        return call

    def opening(file: Any, mode: str = "r", *arguments: Any, **more: Any) -> Any:
        if set(mode) & set("wax+") and "dev" not in str(file):
            write()
        return opened(file, mode, *arguments, **more)

    opened = io.open
    for name in ("mkdir", "rename", "replace", "fsync"):
        setattr(os, name, watched(getattr(os, name), name in ("rename", "replace")))
    io.open = builtins.open = opening  # type: ignore[assignment]


# --- what a run has made --------------------------------------------------------------------------------


def digest(run: Path) -> dict[str, str]:
    """A hash of everything that a run folder holds, by path."""
    found = {}
    for path in sorted(run.rglob("*")):
        inside = path.relative_to(run).parts
        if any(name in IGNORED or name.startswith(".") for name in inside):
            continue
        if path.suffix == ".zarr":
            group: Any = zarr.open_group(path, mode="r")
            arrays = {name: np.asarray(group[name][:]) for name in sorted(group.array_keys())}
            found[str(path.relative_to(run))] = hash_of(arrays)
        elif path.is_file() and not any(name.endswith(".zarr") for name in inside):
            tensors = path.suffix == ".safetensors"
            what = {name: value.numpy() for name, value in load_file(path).items()} if tensors else path.read_bytes()
            found[str(path.relative_to(run))] = hash_of(what)
    return found


def hash_of(what: bytes | dict[str, Any]) -> str:
    """SHA-256 of bytes, or of arrays by name."""
    if isinstance(what, bytes):
        return hashlib.sha256(what).hexdigest()
    total = hashlib.sha256()
    for name, value in sorted(what.items()):
        total.update(f"{name} {value.dtype} {value.shape}".encode())
        total.update(np.ascontiguousarray(value).tobytes())
    return total.hexdigest()


def leftovers(run: Path) -> list[str]:
    """Temporary files and folders; locks stay."""
    return [str(path) for path in run.rglob(".*") if path.suffix in (".tmp", ".old")]


def torture(stage: str, seed: int, harms: dict[str, int]) -> Iterator[dict[str, Any]]:
    """Harm `stage` in each way at so many of its writes, drawn without return as long as there are others."""
    prepare, work = STAGES[stage]
    with tempfile.TemporaryDirectory() as folder:
        start, whole = Path(folder) / "start", Path(folder) / "whole"
        in_child(lambda: prepare(start), start)
        # The path is part of what a run remembers: every run is in the same place, one after the other.
        place = Path(folder) / "run"
        shutil.copytree(start, place)
        writes, _ = in_child(lambda: work(place), place)
        expected = digest(place)
        place.rename(whole)
        for harm, times in harms.items():
            rng = np.random.default_rng(seed)
            points = np.concatenate([rng.permutation(writes) for _ in range(-(-times // writes))])[:times] + 1
            for point in points:
                shutil.copytree(start, place)
                _, renamed = in_child(lambda: work(place), place, int(point), harm)
                if harm == "vanish":  # nobody promised anything
                    shutil.rmtree(place, ignore_errors=True)
                    shutil.copytree(start, place)
                    renamed = []
                # Of names that begin with a dot, which are put aside or not yet in place, nobody was told.
                told = [path for path in renamed if "/." not in str(path).removeprefix(str(place))]
                in_child(lambda: check_run(RunFolder(place), repair=False), place)
                lost = [
                    path for path in told if not Path(path).exists()
                ]  # what was being replaced, `check` has put back
                assert not lost, f"{harm}, write {point}: lost {lost}"
                in_child(lambda: work(place), place)
                found = digest(place)
                differing = {name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)}
                assert not differing, f"{harm}, write {point} of {writes}: not as uninterrupted: {sorted(differing)}"
                assert not leftovers(place), f"{harm}, write {point} of {writes}: left {leftovers(place)}"
                shutil.rmtree(place)
            different = len(set(points.tolist()))
            yield {"stage": stage, "harm": harm, "writes": writes, "times": len(points), "different_points": different}


if __name__ == "__main__":
    torch.set_num_threads(1)
    make_small()
    stage, times, seed, *harms = [*sys.argv[1:], *["10", "0", "kill"][len(sys.argv) - 2 :]]
    counts = {harm: int(count or times) for harm, _, count in (word.partition("=") for word in harms)}
    for found in torture(stage, int(seed), counts):
        print(json.dumps(found), flush=True)
