"""The record of a run's options: it goes on with its own only, and a record that cannot be read is named."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import evolve_options, memory_options, vision_options
from training.infra.options import as_json, record_options
from wm_envs.errors import BrokenStore, OptionsDiffer


@pytest.mark.parametrize(("first", "second", "named"), [
    (evolve_options(Path("r")), evolve_options(Path("r"), sigma=0.2), "sigma 0.1 -> 0.2"),
    (vision_options(Path("r")), vision_options(Path("r"), seed=1), "seed 0 -> 1"),
    (memory_options(Path("r")), memory_options(Path("r"), batch_size=8), "batch_size 4 -> 8"),
], ids=["evolve", "vision", "memory"])  # fmt: skip
def test_a_run_goes_on_with_its_own_options_only(tmp_path: Path, first: Any, second: Any, named: str) -> None:
    path = tmp_path / "options.json"
    record_options(path, first)
    before = path.read_bytes()
    with pytest.raises(OptionsDiffer, match=named):
        record_options(path, second)
    assert path.read_bytes() == before
    changed = dataclasses.replace(first, run=Path("elsewhere"))
    record_options(path, changed)


def test_a_run_may_be_moved_and_called_by_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it began from is where it was, as it is seen from the run."""
    monkeypatch.chdir(tmp_path)
    for run in ("runs/a", "runs/b"):
        Path(run).mkdir(parents=True)
        Path(run, "v.safetensors").touch()
    begun = vision_options(Path("runs/a"), start="runs/a/v.safetensors")
    record_options(Path("runs/a/vision.json"), begun)
    record_options(
        tmp_path / "runs/a/vision.json", dataclasses.replace(begun, start=str(tmp_path / "runs/a/v.safetensors"))
    )
    with pytest.raises(OptionsDiffer, match=r"start 'v.safetensors' -> '../b/v.safetensors'"):
        record_options(Path("runs/a/vision.json"), dataclasses.replace(begun, start="runs/b/v.safetensors"))
    Path("runs/a").rename("c")
    record_options(Path("c/vision.json"), dataclasses.replace(begun, start="c/v.safetensors"))
    for older in ("c/v.safetensors", str(tmp_path / "c/v.safetensors")):  # as records said it once
        Path("c/vision.json").write_text(json.dumps(as_json(begun) | {"start": older}))
        record_options(Path("c/vision.json"), dataclasses.replace(begun, start="c/v.safetensors"))


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_options_that_cannot_be_read_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "options.json").write_text(text)
    with pytest.raises(BrokenStore, match=r"options\.json"):
        record_options(tmp_path / "options.json", evolve_options(Path("r")))


def test_an_option_that_came_later_is_not_held_against_a_run(tmp_path: Path) -> None:
    record, options = tmp_path / "vision.json", vision_options(tmp_path)
    before = {name: value for name, value in as_json(options).items() if name != "rounds"}
    record.write_text(json.dumps(before))
    record_options(record, dataclasses.replace(options, rounds=2))
    with pytest.raises(OptionsDiffer, match="rounds 2 -> 3"):
        record_options(record, dataclasses.replace(options, rounds=3))
    record.write_text("{}")
    with pytest.raises(OptionsDiffer, match="batches None -> 6"):
        record_options(record, options)
