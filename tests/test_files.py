"""Files: written whole or not at all, by one process at a time, and nothing left behind by those that were killed."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers import TINY_CONTROLLER
from wm_envs.errors import FolderBusy
from wm_envs.files import file_lock, sweep, temporary_name, write_text
from wm_envs.games.take_cover import engine_cleanup
from wm_envs.processes import stat_fields
from wm_envs.worlds import bundle as worlds
from wm_envs.worlds.bundle import read_config, read_controller, save_controller


def dead_process() -> int:
    """The number of a process that is no more."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


HOLD = (
    "import sys, time; from pathlib import Path; from wm_envs.files import file_lock\n"
    "with file_lock(Path(sys.argv[1]), wait='wait' in sys.argv): print('held', flush=True); time.sleep(600)"
)


def test_lock_refuses_a_second_process_and_names_the_first(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "vision")], stdout=subprocess.PIPE)
    try:
        assert holder.stdout and holder.stdout.readline() == b"held\n"
        before = sorted(tmp_path.iterdir())
        busy = pytest.raises(FolderBusy, match=f"vision, in use by process {holder.pid}")
        with busy, file_lock(tmp_path / "vision"):
            raise AssertionError("not alone")
        with file_lock(tmp_path / "memory"):  # another stage may work beside it
            pass
        assert set(before) <= set(tmp_path.iterdir())
    finally:
        holder.kill()  # no chance to clean up: the system lets go of the lock
        holder.wait()
    with file_lock(tmp_path / "vision"):
        pass


def test_lock_waits_for_another_process(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "x")], stdout=subprocess.PIPE)
    assert holder.stdout and holder.stdout.readline() == b"held\n"
    quick = HOLD.replace("sleep(600)", "sleep(0)")
    waiter = subprocess.Popen([sys.executable, "-c", quick, str(tmp_path / "x"), "wait"])
    with pytest.raises(subprocess.TimeoutExpired):
        waiter.wait(3)
    holder.kill()
    holder.wait()
    assert waiter.wait(120) == 0


def test_sweep_removes_only_leftovers_of_ended_processes(tmp_path: Path) -> None:
    dead = dead_process()
    (tmp_path / f".a.json.{dead}.tmp").write_text("half")
    (tmp_path / f".part-00001.zarr.{dead}.tmp").mkdir()
    (tmp_path / f".part-00001.zarr.{dead}.tmp" / "zarr.json").write_text("half")
    (tmp_path / f".part-00002.zarr.{dead}.old").mkdir()  # put aside, and nothing came in its place
    (tmp_path / f".part-00003.zarr.{dead}.old").mkdir()
    (tmp_path / "part-00003.zarr").mkdir()
    outside = tmp_path.parent / "outside"
    outside.mkdir(exist_ok=True)
    (tmp_path / f".link.{dead}.tmp").symlink_to(outside)
    kept = [tmp_path / name for name in (".a.1.tmp.json", f"a.{dead}.tmp", ".a.tmp")]
    kept.append(temporary_name(tmp_path / "b.json"))
    for path in kept:
        path.write_text("mine")
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {p.name for p in kept} | {"part-00002.zarr", "part-00003.zarr"}
    assert outside.exists()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_a_process_that_nobody_waits_for_has_ended(tmp_path: Path) -> None:
    """The orphans of a killed run stay zombies in a container whose first process does not wait for them."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    try:
        while stat_fields(child.pid)[0] != "Z":
            time.sleep(0.01)
        (tmp_path / f".a.json.{child.pid}.tmp").write_text("half")
        sweep(tmp_path)
        assert not list(tmp_path.iterdir()) and engine_cleanup.start_time(child.pid) is None
    finally:
        child.wait()


def test_writing_leaves_no_temporary_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a.json", "{}")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("write", [1, 2, 3])
def test_controllers_survive_a_save_interrupted_at_any_write(own_world: Path, monkeypatch: Any, write: int) -> None:
    """Adding a controller writes three files; whichever is the last, all controllers from before are there."""
    before = read_controller(own_world, "controller")[1]
    count = 0

    def written(function: Any) -> Any:
        def wrapped(*arguments: Any) -> None:
            nonlocal count
            count += 1
            if count == write:
                raise KeyboardInterrupt
            function(*arguments)

        return wrapped

    with monkeypatch.context() as patch:
        for name in ("write_bytes", "write_json"):
            patch.setattr(worlds, name, written(getattr(worlds, name)))
        with pytest.raises(KeyboardInterrupt):
            save_controller(own_world, "second", TINY_CONTROLLER, torch.ones(TINY_CONTROLLER.parameters))
    assert count == write
    assert torch.equal(read_controller(own_world, "controller")[1], before)
    save_controller(own_world, "second", TINY_CONTROLLER, torch.ones(TINY_CONTROLLER.parameters))
    assert torch.equal(read_controller(own_world, "controller")[1], before)
    config = read_config(own_world)
    assert list(config["controllers"]) == ["controller", "second"] and "coming" not in config


def test_two_processes_add_controllers_without_loss(own_world: Path) -> None:
    code = (
        "import sys, torch; from pathlib import Path; from wm_envs.worlds.bundle import *\n"
        "from wm_envs.models.controller import ControllerConfig; kind = ControllerConfig(4, 8, 1, 'zh')\n"
        "for n in range(10):\n"
        "    save_controller(Path(sys.argv[1]), f'{sys.argv[2]}{n}', kind, torch.zeros(kind.parameters))"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, str(own_world), letter]) for letter in "ab"]
    assert [process.wait(120) for process in both] == [0, 0]
    expected = {"controller", *(f"{letter}{n}" for letter in "ab" for n in range(10))}
    assert set(read_config(own_world)["controllers"]) == expected
    read_controller(own_world, "b9")
