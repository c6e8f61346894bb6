"""The wheel and the sdist: what they hold, and that the wheel plays the dream in an empty venv."""

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import wm_envs
from tests.helpers import ROOT, fresh_process
from tests.project.test_install import CPU, plain_environment
from wm_envs.worlds.bundle import shipped_worlds

PLAY = """
import gymnasium as gym, wm_envs
env = gym.make("WMDream-v0", render_mode="rgb_array")
env.reset(seed=0)
for _ in range(20):
    _, _, terminated, truncated, info = env.step(env.action_space.sample())
    if terminated or truncated:
        break
print(env.render().shape, info["ticks"] > 0, wm_envs.__file__)
"""


def shell(*command: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=plain_environment(), capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the sdist of this working tree, and of the wheel that is made of the sdist."""
    pytest.importorskip("build")
    pytest.importorskip("twine")
    folder = tmp_path_factory.mktemp("dist")
    shell(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder)
    return folder


@pytest.mark.slow
def test_the_files_of_a_release(built: Path) -> None:
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    assert "PASSED" in shell(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist)
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in ("world.safetensors", "controllers.safetensors", "config.json", "README.md"):
        assert {f"wm_envs/pretrained/{world}/{name}" for world in shipped_worlds()} <= names
    assert {"play.py", "wm_envs/py.typed", "training/__main__.py", "player/player.py"} <= names
    assert not {name for name in names if name.startswith(("tests/", "benchmarks/", "examples/", "docs/"))}
    assert sum(path.stat().st_size for path in (wheel, sdist)) < 100e6  # what PyPI takes for one file
    with tarfile.open(sdist) as packed_files:
        packed = {name.partition("/")[2] for name in packed_files.getnames()}
    assert not any(name.startswith("tests/") for name in packed), "only some of them would be there"
    assert {"pyproject.toml", "README.md", "LICENSE", "wm_envs/pretrained/takecover/world.safetensors"} <= packed


@pytest.mark.slow
def test_the_wheel_plays_the_dream_in_an_empty_venv(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    shell(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt"]
    (torch,) = re.findall(r"^torch==.*$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    subprocess.run([*map(str, pip), "--no-deps", "--index-url", CPU, torch], capture_output=True)  # else pip's default
    shell(*pip, wheel)
    shown = shell(python, "-c", PLAY, cwd=tmp_path).splitlines()[-1]
    assert shown.startswith("(64, 64, 3) True") and str(tmp_path / "venv") in shown
    listed = shell(python, "-m", "pip", "list", cwd=tmp_path).lower()
    assert not any(name in listed for name in ("vizdoom", "pygame", "zarr", "onnx", "huggingface"))


def test_the_citation_has_the_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {wm_envs.__version__}\n" in citation and "\nrepository-code: https://" in citation


WITHOUT_UNIX = """
import os, sys, tempfile
from pathlib import Path
import gymnasium, pydantic.dataclasses, torch, safetensors.torch
sys.platform = "win32"
for name in ("fcntl", "pwd", "grp", "resource", "termios"):
    sys.modules[name] = None
for name in ("fork", "register_at_fork", "getuid", "geteuid"):
    delattr(os, name)
def kill(*_):
    raise AssertionError("on Windows os.kill(pid, 0) sends Ctrl-C")
os.kill = kill
read_text = Path.read_text
def without_proc(path, *arguments, **keywords):
    if str(path).startswith(("/proc", "/dev")):
        raise FileNotFoundError(path)
    return read_text(path, *arguments, **keywords)
Path.read_text = without_proc
"""


def test_the_bare_install_needs_nothing_of_unix(tmp_path: Path) -> None:
    """An imitation: the dream plays, and a world is saved, where a module or a folder of Unix is missing."""
    pytest.importorskip("fcntl")
    (tmp_path / ".config.json.99999999.tmp").touch()
    save = f"""
from wm_envs.worlds.bundle import load_world, save_world
save_world(Path({str(tmp_path)!r}), load_world("takecover"))
"""
    assert fresh_process(WITHOUT_UNIX + PLAY + save).startswith("(64, 64, 3) True")
    assert (tmp_path / "config.json").exists()
