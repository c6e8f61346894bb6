"""`python -m training check`: what is broken is found, named and set aside, and nothing that can be read is lost."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.helpers import synthetic_store
from tests.torture import flips
from training.infra.checkpoint import load_checkpoint, save_checkpoint, save_tensors
from training.infra.run_folder import RunFolder
from training.judging.run_check import check_run
from wm_envs.errors import BrokenStore

DAMAGES = 200  # flipped bits and cut files; `make torture` does thousands


@pytest.fixture
def run(tmp_path: Path, tiny_world: Path) -> Path:
    """A run folder with one of everything."""
    folder = tmp_path / "run"
    synthetic_store(folder)
    shutil.copytree(tiny_world, folder / "round-0/world")
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(3)).sum().backward()
    optimizer.step()
    for path in ("vision.safetensors", "ppo/name/policy.safetensors"):
        save_checkpoint(folder / "round-0" / path, model, optimizer, 7)
    (folder / "latents").mkdir()
    save_tensors(folder / "latents" / "part-00000.safetensors", {"means": torch.ones(4)}, {})
    (folder / "round-0" / "vision.json").write_text(json.dumps({"latent": 4}))
    return folder


def test_a_whole_run_is_said_to_be_whole(run: Path) -> None:
    before = snapshot(run)
    found = check_run(RunFolder(run), repair=False)
    assert found.whole == {"parts": 2, "bundles": 1, "checkpoints": 2, "latents": 1, "json": 1}
    assert found.set_aside == {}
    assert snapshot(run) == before


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


BREAK = {
    "rollouts/part-00001.zarr": "rollouts/part-00001.zarr/frames/c/0/0/0/0",
    "round-0/vision.safetensors": "round-0/vision.safetensors",
    "round-0/ppo/name/policy.safetensors": "round-0/ppo/name/policy.safetensors",
    "latents/part-00000.safetensors": "latents/part-00000.safetensors",
    "round-0/world": "round-0/world/world.safetensors",
    "round-0/vision.json": "round-0/vision.json",
}


@pytest.mark.parametrize("thing", BREAK)
def test_what_is_cut_is_named_and_set_aside(run: Path, thing: str) -> None:
    file = run / BREAK[thing]
    if not file.exists():  # another layout of chunks
        file = max((run / thing).rglob("c/*"), key=lambda path: path.stat().st_size if path.is_file() else -1)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    before = snapshot(run)
    with pytest.raises(BrokenStore, match=thing):
        check_run(RunFolder(run), repair=False)
    assert snapshot(run) == before
    assert check_run(RunFolder(run), repair=True).set_aside == {thing: str(run / "set-aside" / thing)}
    assert sorted(snapshot(run).values()) == sorted(before.values()), "nothing is lost"
    assert check_run(RunFolder(run), repair=False).set_aside == {}


def test_what_is_set_aside_twice_is_kept_twice(run: Path) -> None:
    for text in ("[", "{"):
        (run / "round-0" / "vision.json").write_text(text)
        check_run(RunFolder(run), repair=True)
    assert {path.name for path in (run / "set-aside" / "round-0").iterdir()} == {"vision.json", "vision.json.2"}


def test_no_damage_goes_unnoticed() -> None:
    found = flips.torture(DAMAGES, seed=1)
    assert found["harmless"] + found["refused"] == DAMAGES and found["silent"] == 0


def test_a_checkpoint_from_before_there_were_checksums_is_read(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    model = torch.nn.Linear(2, 2)
    tensors = {f"model/{name}": value for name, value in model.state_dict().items()}
    save_file(tensors, tmp_path / "old.safetensors", {"step": "3"})
    assert load_checkpoint(tmp_path / "old.safetensors", torch.nn.Linear(2, 2))[0] == 3
