"""Files made to harm who reads them: none runs code, crashes, hangs or takes much memory; each gets a clear error.

Every reading happens in a forked process with little memory and time. Payloads, if they ran, would leave a mark.
"""

import os
import pickle
import resource
import shutil
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import zarr
from safetensors.torch import save_file

from tests.helpers import make_tiny_world, synthetic_episodes
from tests.torture.hostile_files import CORPUS, READERS, pickled
from training.data import episode_store as rollouts
from training.infra.checkpoint import read_tensors, save_tensors
from wm_envs.errors import WorldModelError
from wm_envs.files import write_json

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

MEMORY = 768 << 20  # bytes of address space that reading may take beyond what the process has
SECONDS = 20


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, a part, a checkpoint and a record, all sound."""
    folder = tmp_path_factory.mktemp("hostile")
    make_tiny_world(folder / "world")
    rollouts.write_part(folder / "rollouts", 0, synthetic_episodes([37, 50, 13]), {"task": "takecover"})
    save_tensors(folder / "model.safetensors", {f"model/{k}": v for k, v in torch.nn.Linear(2, 2).state_dict().items()},
                 {"step": "3"})  # fmt: skip
    write_json(folder / "best.json", {"a": 1})
    return folder


def reading(read: Callable[[Path], Any], folder: Path) -> str:
    """What came of reading in a fork: "error TEXT" (typed), "read", or what else went wrong."""
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        try:
            read(folder)
            said = "read"
        except WorldModelError as error:
            said = f"error {error}" if not _out_of_memory(error) else "out of memory"
        except BaseException:
            said = traceback.format_exc()
        os.write(sink, said.encode(errors="replace")[:4000])
        os._exit(0)
    os.close(sink)
    with os.fdopen(source, errors="replace") as pipe:
        said = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return said if status == 0 else f"ended with {status}: {said}"


def _out_of_memory(error: BaseException | None) -> bool:
    """Whether an error was one of memory at first: then it is the limit that stopped it, and not we."""
    return error is not None and (
        isinstance(error, MemoryError) or _out_of_memory(error.__cause__ or error.__context__)
    )


@pytest.mark.parametrize("read", READERS)
def test_what_is_sound_is_read(template: Path, read: Callable[[Path], Any]) -> None:
    zarr.config.set({"threading.max_workers": 1})
    assert reading(read, template) == "read"


@pytest.mark.parametrize(("make", "read"), CORPUS.values(), ids=CORPUS.keys())
def test_what_is_hostile_is_refused(template: Path, tmp_path: Path, make: Any, read: Any) -> None:
    folder = Path(shutil.copytree(template, tmp_path / "run"))
    make(folder)
    said = reading(read, folder)
    assert said.startswith("error "), said
    assert "Fix" in said and len(said) < 3000
    assert not (folder / "ran").exists(), "code ran"
    assert not list(folder.parent.glob("bomb*"))


@pytest.mark.parametrize("name", ["chunk: bomb", "chunk: small bomb", "chunk: bomb of unknown size"])
def test_bombs_are_not_lit(template: Path, tmp_path: Path, name: str) -> None:
    make, read = CORPUS[name]
    folder = Path(shutil.copytree(template, tmp_path / "run"))
    make(folder)
    assert "a chunk claims to hold" in reading(read, folder)


def test_a_mark_would_be_left(tmp_path: Path) -> None:
    """The payload is one: whoever unpickles it runs it."""
    pickle.loads(pickled(tmp_path))
    assert (tmp_path / "ran").is_dir()


def test_a_file_may_have_been_made_by_others(tmp_path: Path) -> None:
    """A plain safetensors file of sound tensors is read, whoever wrote it."""
    save_file({"a": torch.ones(3)}, tmp_path / "model.safetensors")
    assert torch.equal(read_tensors(tmp_path / "model.safetensors")[0]["a"], torch.ones(3))
