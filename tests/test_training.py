"""The stages: a resumed run is the uninterrupted one to the bit, and nothing that is not finite is ever kept."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TINY, TINY_CONTROLLER, synthetic_store, tiny_model
from safetensors.torch import load_file

from training import checkpoint, episodes, evolve, memory, vision
from training.checkpoint import load_checkpoint, one_cycle, save_checkpoint
from training.evolve import EvolveOptions, Search, population_actor
from training.memory import MemoryOptions, calibrate
from training.options import as_json, remember
from training.rollouts import Part, RolloutStore
from training.sequences import join
from training.vision import VisionOptions
from wm_envs.controller import act
from wm_envs.errors import BrokenStore, Diverged, OptionsDiffer
from wm_envs.vision import ConvVAE
from wm_envs.worlds import load_controller, load_world, read_config


class Interrupted(BaseException):
    """Ctrl-C, say."""


def interrupt_after_checkpoint(patched: pytest.MonkeyPatch, module: Any) -> None:
    """The stage stops right after its first checkpoint."""

    def stop(*given: Any) -> None:
        save_checkpoint(*given)
        raise Interrupted

    patched.setattr(module, "save_checkpoint", stop)


def resumed_and_uninterrupted(
    monkeypatch: pytest.MonkeyPatch, module: Any, runs: list[Path], options: Callable[[Path], Any], file: str
) -> list[dict[str, torch.Tensor]]:
    module.main(options(runs[0]))
    with monkeypatch.context() as patched:
        interrupt_after_checkpoint(patched, module)
        with pytest.raises(Interrupted):
            module.main(options(runs[1]))
    module.main(options(runs[1]))
    return [load_file(run / file) for run in runs]


def assert_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    differing = [name for name in first if not torch.equal(first[name], second[name])]
    assert not differing


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two run folders with the same store."""
    return [synthetic_store(tmp_path / name) for name in ("whole", "resumed")]


# --- V ------------------------------------------------------------------------------------------------


def vision_options(run: Path, **changes: Any) -> VisionOptions:
    return VisionOptions(run=run, latent=4, batches=6, batch=16, checkpoint_every=3, **changes)


def test_resumed_vision_is_the_uninterrupted(
    runs: list[Path], monkeypatch: pytest.MonkeyPatch, tiny_vision: None
) -> None:
    whole, resumed = resumed_and_uninterrupted(monkeypatch, vision, runs, vision_options, "vision.safetensors")
    assert_equal(whole, resumed)
    assert not list(runs[1].rglob("*.tmp"))


def test_vision_learns_and_says_so(tmp_path: Path, tiny_vision: None) -> None:
    run = synthetic_store(tmp_path)
    options = dataclasses.replace(vision_options(run), batches=24, checkpoint_every=12, learning_rate=0.01)
    metrics = vision.main(options)
    rows = (run / "logs" / "vision.csv").read_text().splitlines()
    assert len(rows) == 3 and rows[0].startswith("step,seconds,error")
    first, last = (float(row.split(",")[2]) for row in rows[1:])
    assert metrics["error"] == pytest.approx(last) and last < first
    assert (run / "pictures" / "vision.png").exists()
    assert json.loads((run / "vision_metrics.json").read_text()) == metrics
    assert vision.main(options).keys() == metrics.keys(), "a finished stage is finished at once"


def test_an_odd_channels_last_weight_resumes(tmp_path: Path) -> None:
    """Adam's averages must come back in the memory order of the weights that they belong to."""
    states = []
    for interrupted in (False, True):
        torch.manual_seed(0)
        model = torch.nn.Conv2d(3, 5, 4).to(memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(model.parameters(), 0.01, fused=True)
        images = torch.rand(2, 3, 8, 8)
        for step in range(6):
            if interrupted and step == 3:
                save_checkpoint(tmp_path / "c", model, optimizer, step, {"h": torch.ones(2)})
                model = torch.nn.Conv2d(3, 5, 4).to(memory_format=torch.channels_last)
                optimizer = torch.optim.Adam(model.parameters(), 0.01, fused=True)
                found, carried = load_checkpoint(tmp_path / "c", model, optimizer)
                assert found == 3 and torch.equal(carried["h"], torch.ones(2))
            optimizer.zero_grad()
            model(images).square().sum().backward()
            optimizer.step()
        states.append(model.state_dict())
    assert_equal(*states)


# --- M ------------------------------------------------------------------------------------------------


def memory_options(run: Path, **changes: Any) -> MemoryOptions:
    sizes = {
        "hidden": 8,
        "mixtures": 3,
        "lanes": 4,
        "window": 8,
        "steps": 6 * 4 * 8,
        "checkpoint_every": 3,
        "workers": 1,
    }
    return MemoryOptions(run=run, **sizes | changes)


@pytest.fixture
def encoded_runs(runs: list[Path], tiny_vision: None) -> list[Path]:
    """Both with the same V."""
    for run in runs:
        torch.manual_seed(5)
        model = ConvVAE(TINY.vision)
        save_checkpoint(run / "vision.safetensors", model, torch.optim.Adam(model.parameters()), 1)
        (run / "vision.json").write_text(json.dumps({"latent": 4}))
    return runs


def test_resumed_memory_is_the_uninterrupted(encoded_runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    whole, resumed = resumed_and_uninterrupted(monkeypatch, memory, encoded_runs, memory_options, "memory.safetensors")
    assert_equal(whole, resumed)
    worlds = [load_file(run / "world" / "world.safetensors") for run in encoded_runs]
    assert_equal(*worlds)


def test_memory_writes_a_world_that_can_be_dreamt(encoded_runs: list[Path]) -> None:
    run = encoded_runs[0]
    metrics = memory.main(memory_options(run, frame_skip=3))
    assert all(np.isfinite(value) for value in metrics.values())
    world = load_world(run / "world")
    assert world.config.frame_skip == 3 and world.config.memory.hidden == 8
    assert read_config(run / "world")["card"]["memory"] == metrics
    assert len(world.first_means) == 3, "the first frames of the training episodes"


def test_memory_needs_a_v(runs: list[Path]) -> None:
    with pytest.raises(BrokenStore, match=r"vision\.safetensors"):
        memory.main(memory_options(runs[0]))


# --- C ------------------------------------------------------------------------------------------------


def evolve_options(run: Path, **changes: Any) -> EvolveOptions:
    sizes = {"generations": 4, "population": 4, "rollouts": 2, "validate_every": 2, "validate_episodes": 0}
    return EvolveOptions(run=run, **sizes | changes)


@pytest.fixture
def bred_runs(tiny_world: Path, tmp_path: Path) -> list[Path]:
    folders = [tmp_path / name for name in ("whole", "resumed")]
    for run in folders:
        shutil.copytree(tiny_world, run / "world")
    return folders


def history(run: Path, name: str = "controller") -> list[dict[str, Any]]:
    return json.loads((run / "evolve" / name / "history.json").read_text())["generations"]


def test_resumed_evolution_is_the_uninterrupted(bred_runs: list[Path]) -> None:
    whole, resumed = bred_runs
    metrics = evolve.main(evolve_options(whole))
    evolve.main(evolve_options(resumed, generations=2))
    assert evolve.main(evolve_options(resumed)) == metrics
    assert len(history(whole)) == 4
    assert history(whole) == history(resumed)
    assert torch.equal(load_controller(whole / "world")[1], load_controller(resumed / "world")[1])


def test_the_best_validated_mean_is_saved(bred_runs: list[Path]) -> None:
    run = bred_runs[0]
    evolve.main(evolve_options(run, name="best"))
    best = max((entry for entry in history(run, "best") if "dream" in entry), key=lambda entry: entry["dream"]["mean"])
    config, parameters = load_controller(run / "world", "best")
    assert config == TINY_CONTROLLER and parameters.tolist() == pytest.approx(best["parameters"])
    assert list(read_config(run / "world")["controllers"]) == ["controller", "best"], "the others stay"


def test_fewer_generations_than_are_done_are_no_crash(bred_runs: list[Path]) -> None:
    run = bred_runs[0]
    evolve.main(evolve_options(run, generations=3, validate_every=10))
    entries = history(run)
    for entry in entries:
        entry.pop("dream", None), entry.pop("parameters", None)  # as if interrupted before a validation
    (run / "evolve" / "controller" / "history.json").write_text(json.dumps({"generations": entries}))
    evolve.main(evolve_options(run, generations=3, validate_every=10))


NO_GENERATION = ['{"scores": [1]}', '{"fitness": [1, 2]}', '{"fitness": 0}', "3"]
DAMAGED = ["", "[{", "{}", "[]", '{"generations": 3}', '{"generations": [], "crc32": "0"}',
           *['{"generations": [' + entry + "]}" for entry in NO_GENERATION]]  # fmt: skip


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_history_is_refused(bred_runs: list[Path], text: str) -> None:
    run = bred_runs[0]
    evolve.main(evolve_options(run, generations=1))
    (run / "evolve" / "controller" / "history.json").write_text(text)
    with pytest.raises(BrokenStore, match=r"history\.json"):
        evolve.main(evolve_options(run))


@pytest.mark.parametrize("rollouts", [1, 3, 16])
def test_scores_do_not_depend_on_dropping_ended_lanes(monkeypatch: pytest.MonkeyPatch, rollouts: int) -> None:
    world = tiny_model()
    candidates = np.random.default_rng(0).normal(size=(6, 13))
    scores = []
    for share in (0.0, 0.8, 1.0):
        monkeypatch.setattr(episodes, "COMPACT_BELOW", share)
        actor = population_actor(TINY_CONTROLLER, candidates, rollouts)
        scores.append(episodes.dream_episodes(world, actor, "zh", 6, rollouts, 1.0, seed=3))
    assert scores[0].shape == (6, rollouts) and (rollouts < 16 or len(np.unique(scores[0])) > 3)
    assert np.array_equal(scores[0], scores[1]) and np.array_equal(scores[0], scores[2])


def test_every_candidate_dreams_the_same_dreams() -> None:
    world, one = tiny_model(), np.random.default_rng(0).normal(size=13)
    actor = population_actor(TINY_CONTROLLER, np.stack([one, one, one]), 4)
    scores = episodes.dream_episodes(world, actor, "zh", 3, 4, 1.0, seed=3)
    assert (scores == scores[0]).all()
    assert not np.array_equal(scores[0], episodes.dream_episodes(world, actor, "zh", 3, 4, 1.0, seed=4)[0])


def test_population_actor_is_act() -> None:
    candidates, features = np.random.default_rng(0).normal(size=(3, 13)), torch.randn(4, 12)
    actions = population_actor(TINY_CONTROLLER, candidates, 2)(features, torch.tensor([0, 3, 4, 5]), 0)
    for row, who in enumerate((0, 1, 2, 2)):
        alone = act(TINY_CONTROLLER, torch.tensor(candidates[who], dtype=torch.float32), features[row : row + 1])
        torch.testing.assert_close(actions[row : row + 1], alone)


def test_search_climbs_and_is_its_seed() -> None:
    def climb(seed: int) -> np.ndarray:
        search = Search(np.zeros(3), 0.5, 8, seed)
        for _ in range(60):
            search.tell(-((search.ask() - [1, 2, 3]) ** 2).sum(1))
        return search.mean

    assert climb(0) == pytest.approx([1, 2, 3], abs=0.05)
    np.random.seed(1)  # noqa: NPY002 (whatever the global generator does)
    assert np.array_equal(climb(0), climb(0)) and not np.array_equal(climb(0), climb(1))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_search_refuses_what_is_not_finite(bad: float) -> None:
    search = Search(np.zeros(3), 0.5, 4, 0)
    search.ask()
    mean = search.mean.copy()
    with pytest.raises(Diverged, match="fitness"):
        search.tell(np.array([1.0, bad, 0.0, 2.0]))
    assert np.array_equal(search.mean, mean)


# --- numbers that are none ----------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["vision", "memory"])
@pytest.mark.parametrize(("what", "batch"), [("loss", 1), ("gradient", 4), ("weights", 3), ("weights", 4)])
def test_a_poisoned_batch_ends_the_stage_and_spares_its_checkpoint(
    encoded_runs: list[Path], monkeypatch: pytest.MonkeyPatch, stage: str, what: str, batch: int
) -> None:
    module, options = {"vision": (vision, vision_options), "memory": (memory, memory_options)}[stage]
    whole, poisoned = encoded_runs
    for path in [path for run in encoded_runs for path in run.glob("vision*")] if stage == "vision" else []:
        path.unlink()  # it begins anew
    module.main(options(whole))
    seen, said = [], {"loss": "loss", "gradient": "gradient", "weights": "weights|loss|gradient"}[what]
    loss_of, clip = module.total_loss, module.clip_gradients

    def total_loss(value: torch.Tensor) -> torch.Tensor:
        seen.append(value)
        return loss_of(value * float("nan") if what == "loss" and len(seen) == batch else value)

    def clip_gradients(model: torch.nn.Module, limit: float) -> float:
        parameter = next(model.parameters())
        if len(seen) == batch and what == "gradient":
            parameter.grad[(0,) * parameter.ndim] = float("inf")
        norm = clip(model, limit)
        if len(seen) == batch and what == "weights":
            parameter.grad[(0,) * parameter.ndim] = float("nan")  # past the check: Adam makes it a weight
        return norm

    with monkeypatch.context() as patch:
        patch.setattr(module, "total_loss", total_loss)
        patch.setattr(module, "clip_gradients", clip_gradients)
        with pytest.raises(Diverged, match=said):
            module.main(options(poisoned))
    path = poisoned / f"{stage}.safetensors"
    assert path.exists() == (batch == 4)  # after 3 a checkpoint is due, but not of weights that are none
    if path.exists():
        assert all(value.isfinite().all() for value in load_file(path).values())
    module.main(options(poisoned))
    assert_equal(load_file(whole / f"{stage}.safetensors"), load_file(path))


# --- what all stages share ----------------------------------------------------------------------------


@pytest.mark.parametrize(("warm", "last"), [(0.1, 0.01), (0.03, 0.03), (0.5, 0.5)])
def test_one_cycle_stays_in_its_bounds(warm: float, last: float) -> None:
    rates = [one_cycle(progress, 2.0, warm, last) for progress in np.linspace(0, 1, 1001)]
    top = int(np.argmax(rates))
    assert min(rates) > 0 and max(rates) <= 2.0 and rates[0] == pytest.approx(0.08)
    assert rates[top] == pytest.approx(2.0, rel=0.01) and rates[-1] == pytest.approx(2.0 * last)
    assert rates[: top + 1] == sorted(rates[: top + 1]) and rates[top:] == sorted(rates[top:], reverse=True)
    assert one_cycle(1.5, 2.0, warm, last) == pytest.approx(2.0 * last)


def test_a_checkpoint_never_holds_what_is_not_finite(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters())
    save_checkpoint(tmp_path / "c", model, optimizer, 1)
    before = (tmp_path / "c").read_bytes()
    with torch.no_grad():
        model.bias[0] = float("nan")
    with pytest.raises(Diverged, match="finite weights"):
        save_checkpoint(tmp_path / "c", model, optimizer, 2)
    assert (tmp_path / "c").read_bytes() == before


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_or_gradient_that_is_not_finite_stops_the_stage(value: float) -> None:
    with pytest.raises(Diverged, match="loss"):
        checkpoint.total_loss(torch.tensor(value))
    model = torch.nn.Linear(2, 2)
    (model(torch.ones(2)).sum() * value).backward()
    with pytest.raises(Diverged, match="gradient"):
        checkpoint.clip_gradients(model, 1.0)


@pytest.mark.parametrize("damage", ["cut", "empty", "another model", "no checkpoint"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, damage: str) -> None:
    path, model = tmp_path / "c", torch.nn.Linear(2, 2)
    saved = torch.nn.Linear(3, 2) if damage == "another model" else model
    save_checkpoint(path, saved, torch.optim.SGD(saved.parameters()), 1)
    if damage == "no checkpoint":
        path.unlink()
    elif damage != "another model":
        path.write_bytes(path.read_bytes()[: 0 if damage == "empty" else 60])
    with pytest.raises(BrokenStore, match=str(path)):
        load_checkpoint(path, model)


def test_steps_have_generators_of_their_own() -> None:
    generators = [checkpoint.generator(seed, step) for seed in range(4) for step in range(50)]
    assert len({float(torch.rand(1, generator=generator)) for generator in generators}) == 200


@pytest.mark.parametrize(("first", "second", "named"), [
    (evolve_options(Path("r")), evolve_options(Path("r"), sigma=0.2), "sigma 0.1 -> 0.2"),
    (vision_options(Path("r")), vision_options(Path("r"), seed=1), "seed 0 -> 1"),
    (memory_options(Path("r")), memory_options(Path("r"), lanes=8), "lanes 4 -> 8"),
], ids=["evolve", "vision", "memory"])  # fmt: skip
def test_a_run_goes_on_with_its_own_options_only(tmp_path: Path, first: Any, second: Any, named: str) -> None:
    path = tmp_path / "options.json"
    remember(path, first)
    before = path.read_bytes()
    with pytest.raises(OptionsDiffer, match=named):
        remember(path, second)
    assert path.read_bytes() == before
    changed = dataclasses.replace(first, run=Path("elsewhere"))
    remember(path, changed)


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_options_that_cannot_be_read_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "options.json").write_text(text)
    with pytest.raises(BrokenStore, match=r"options\.json"):
        remember(tmp_path / "options.json", evolve_options(Path("r")))


def test_calibration_foretells_as_many_deaths_as_came(tmp_path: Path) -> None:
    store = RolloutStore(synthetic_store(tmp_path) / "rollouts")
    encoded = [(torch.randn(part.size, 4).half(), torch.zeros(part.size, 4).half()) for part in store.parts]
    latents = join(store.parts, encoded, 1)
    memory = tiny_model(end_bias=-3.0).memory
    before = memory.head.bias.clone()
    found = calibrate(memory, latents)
    assert found["calibration"] == pytest.approx(1, abs=0.01) and abs(found["shift"]) > 0.01
    moved = memory.head.bias - before
    assert float(moved[memory.end_output]) == pytest.approx(found["shift"], abs=1e-5)
    assert int((moved != 0).sum()) == 1
    assert calibrate(memory, latents)["shift"] == pytest.approx(0, abs=0.1)


def test_where_none_died_nothing_is_calibrated(tmp_path: Path) -> None:
    parts = [Part(0, Path(), np.zeros((40, 1), np.float32), np.array([40], np.int32), np.array([False]), {})]
    memory = tiny_model().memory
    assert calibrate(memory, join(parts, [(torch.zeros(40, 4).half(), torch.zeros(40, 4).half())], 1)) == {}


def test_an_option_that_came_later_is_not_held_against_a_run(tmp_path: Path) -> None:
    record, options = tmp_path / "vision.json", vision_options(tmp_path)
    before = {name: value for name, value in as_json(options).items() if name != "rounds"}
    record.write_text(json.dumps(before))
    remember(record, dataclasses.replace(options, rounds=2))
    with pytest.raises(OptionsDiffer, match="rounds 2 -> 3"):
        remember(record, dataclasses.replace(options, rounds=3))
    record.write_text("{}")
    with pytest.raises(OptionsDiffer, match="batches None -> 6"):
        remember(record, options)
