"""The record of a run's options: it goes on with its own only, and a record that cannot be read is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import evolve_options, memory_options, record, vision_options
from training.config.records import as_record, recorded
from wm_envs.errors import BrokenStore, OptionsDiffer


@pytest.mark.parametrize(("first", "second", "named"), [
    (evolve_options(Path("r")), evolve_options(Path("r"), sigma=0.2), "sigma 0.1 -> 0.2"),
    (vision_options(Path("r")), vision_options(Path("r"), seed=1), "seed 0 -> 1"),
    (memory_options(Path("r")), memory_options(Path("r"), batch_size=8), "batch_size 4 -> 8"),
], ids=["evolve", "vision", "memory"])  # fmt: skip
def test_a_run_goes_on_with_its_own_options_only(tmp_path: Path, first: Any, second: Any, named: str) -> None:
    path = tmp_path / "options.json"
    record(path, first)
    before = path.read_bytes()
    with pytest.raises(OptionsDiffer, match=named):
        record(path, second)
    assert path.read_bytes() == before
    changed = first.replace(run=Path("elsewhere"))
    record(path, changed)


def test_a_run_may_be_moved_and_called_by_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it began from is where it was, as it is seen from the run."""
    monkeypatch.chdir(tmp_path)
    for run in ("runs/a", "runs/b"):
        Path(run).mkdir(parents=True)
        Path(run, "v.safetensors").touch()
    begun = vision_options(Path("runs/a"), start="runs/a/v.safetensors")
    record(Path("runs/a/vision.json"), begun)
    record(tmp_path / "runs/a/vision.json", begun.replace(start=str(tmp_path / "runs/a/v.safetensors")))
    with pytest.raises(OptionsDiffer, match=r"start 'v.safetensors' -> '../b/v.safetensors'"):
        record(Path("runs/a/vision.json"), begun.replace(start="runs/b/v.safetensors"))
    Path("runs/a").rename("c")
    record(Path("c/vision.json"), begun.replace(start="c/v.safetensors"))
    for older in ("c/v.safetensors", str(tmp_path / "c/v.safetensors")):  # as records said it once
        Path("c/vision.json").write_text(json.dumps(as_record(begun) | {"start": older}))
        record(Path("c/vision.json"), begun.replace(start="c/v.safetensors"))


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_options_that_cannot_be_read_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "options.json").write_text(text)
    with pytest.raises(BrokenStore, match=r"options\.json"):
        record(tmp_path / "options.json", evolve_options(Path("r")))


def test_an_option_that_came_later_is_not_held_against_a_run(tmp_path: Path) -> None:
    path, options = tmp_path / "vision.json", vision_options(tmp_path)
    before = {name: value for name, value in as_record(options).items() if name != "rounds"}
    path.write_text(json.dumps(before))
    record(path, options.replace(rounds=2))
    with pytest.raises(OptionsDiffer, match="rounds 2 -> 3"):
        record(path, options.replace(rounds=3))
    path.write_text("{}")
    with pytest.raises(OptionsDiffer, match="batches None -> 6"):
        record(path, options)


def test_an_older_record_has_zero_for_a_word(tmp_path: Path) -> None:
    path, command = tmp_path / "vision.json", vision_options(tmp_path)
    path.write_text(json.dumps(as_record(command) | {"rounds": 0, "kl_floor": 0.0}))
    record(path, command)
    with pytest.raises(OptionsDiffer, match=r"kl_floor 'paper' -> 8\.0"):
        record(path, vision_options(tmp_path, kl_floor=8.0))


def test_options_that_a_stage_refuses_leave_the_record_as_it_was(tmp_path: Path) -> None:
    """Also an older one, which does not have all of them."""
    path, options = tmp_path / "vision.json", vision_options(tmp_path)
    path.write_text(json.dumps({name: value for name, value in as_record(options).items() if name != "rounds"}))
    before = path.read_bytes()
    with pytest.raises(OptionsDiffer), recorded(path, options.replace(rounds=2)):
        raise OptionsDiffer("run folder", "x", "y", "z")
    assert path.read_bytes() == before
