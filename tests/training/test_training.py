"""V's and M's stages: a resumed run is the uninterrupted one to the bit, and nothing that is not finite is kept."""

import dataclasses
import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.helpers import memory_options, save_vision, synthetic_episodes, synthetic_store, vision_options
from training.data.episode_store import read_part, write_part
from training.infra.checkpoint import load_checkpoint, read_vision, save_checkpoint, start_from
from training.infra.records import read_result, to_json
from training.infra.run_folder import RunFolder
from training.judging.vision_metrics import VisionMetrics
from training.stages import memory, vision
from wm_envs.errors import BrokenStore, Diverged, InvalidOption, OptionsDiffer
from wm_envs.models.memory.mdn_rnn import MDNRNN
from wm_envs.models.vision.column_vae import ColumnVAE
from wm_envs.worlds.bundle import load_world, read_config

STAGES: dict[str, Any] = {"vision": (vision, vision_options), "memory": (memory, memory_options)}


def resumed_and_uninterrupted(
    monkeypatch: pytest.MonkeyPatch, stage: str, runs: list[Path], **changed: Any
) -> list[dict[str, torch.Tensor]]:
    module, options = STAGES[stage]
    module.main(options(runs[0], **changed))

    def stop(*given: Any) -> None:
        save_checkpoint(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, "save_checkpoint", stop)  # right after the first checkpoint
        with pytest.raises(KeyboardInterrupt):
            module.main(options(runs[1], **changed))
    module.main(options(runs[1], **changed))
    return [load_file(run / f"round-0/{stage}.safetensors") for run in runs]


def assert_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    differing = [name for name in first if not torch.equal(first[name], second[name])]
    assert not differing


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two run folders with the same store."""
    return [synthetic_store(tmp_path / name) for name in ("whole", "resumed")]


@pytest.mark.parametrize("kind", ["conv-vae", "residual-vae", "vae-gan"])
def test_resumed_vision(runs: list[Path], monkeypatch: pytest.MonkeyPatch, tiny_vision: None, kind: str) -> None:
    whole, resumed = resumed_and_uninterrupted(monkeypatch, "vision", runs, kind=kind)
    assert_equal(whole, resumed)
    assert any("carried/" in name for name in whole) == (kind == "vae-gan")
    made = "conv-vae" if kind == "vae-gan" else kind
    assert read_vision(runs[0] / "round-0/vision.safetensors").config.kind == made
    assert not list(runs[1].rglob("*.tmp"))


def test_vision_learns_and_says_so(tmp_path: Path, tiny_vision: None) -> None:
    run = synthetic_store(tmp_path)
    options = vision_options(run, batches=24, checkpoint_every=12, learning_rate=0.01)
    metrics = vision.main(options)
    rows = (run / "round-0" / "logs" / "vision.csv").read_text().splitlines()
    assert len(rows) == 3 and rows[0].startswith("step,seconds,error")
    first, last = (float(row.split(",")[2]) for row in rows[1:])
    assert metrics.error == pytest.approx(last) and last < first
    assert (run / "round-0" / "pictures" / "vision.png").exists()
    assert read_result(VisionMetrics, run / "round-0" / "vision_metrics.json") == metrics
    assert vision.main(options).active == metrics.active, "a finished stage is finished at once"


def test_a_v_of_columns_with_weights_on_objects(tmp_path: Path, tiny_vision: None) -> None:
    options = vision_options(tmp_path, kind="column-vae", latent=20, objects=8.0, focus=2.0, kl_floor=4.0, scale=2.0)
    synthetic_store(tmp_path)
    with pytest.raises(InvalidOption, match="collect --objects"):
        vision.main(options)
    episodes = synthetic_episodes([37, 50])
    for episode in episodes:
        episode.objects = np.zeros((len(episode.actions), 2, 64, 64), bool)
        episode.objects[:, 1, 20:32] = episode.frames[:, 20:32, :, 0] > 200
    part = read_part(write_part(tmp_path / "rollouts", 0, episodes, {"task": "takecover"}))
    whole = np.concatenate([episode.objects for episode in episodes])
    assert part.has_objects and np.array_equal(part.read_objects(30, 40), whole[30:40])
    assert vision.main(options).error > 0
    found = read_vision(tmp_path / "round-0" / "vision.safetensors")
    assert isinstance(found, ColumnVAE) and found.config.per_column == 1


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
                found, extra_state = load_checkpoint(tmp_path / "c", model, optimizer)
                assert found == 3 and torch.equal(extra_state["h"], torch.ones(2))
            optimizer.zero_grad()
            model(images).square().sum().backward()
            optimizer.step()
        states.append(model.state_dict())
    assert_equal(*states)


@pytest.fixture
def encoded_runs(runs: list[Path], tiny_vision: None) -> list[Path]:
    for run in runs:
        save_vision(run)
    return runs


@pytest.mark.parametrize(
    "changed", [{"kind": "mdn-rnn"}, {"kind": "autoregressive"}, {"kind": "mdn-rnn", "keep_best": True, "patience": 3}]
)
def test_resumed_memory(encoded_runs: list[Path], monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any]) -> None:
    whole, resumed = resumed_and_uninterrupted(monkeypatch, "memory", encoded_runs, **changed)
    assert any("carried/best/" in name for name in whole) == ("keep_best" in changed)
    assert_equal(whole, resumed)
    worlds = [load_file(run / "round-0/world" / "world.safetensors") for run in encoded_runs]
    assert_equal(*worlds)


def test_the_world_gets_the_best_weights(encoded_runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    measured = iter([3.0, 1.0, 2.0, 2.0, 2.0, 1.5] * 4)
    real, losses = memory.measure, list[Any]()

    def measure(network: Any, *given: Any, **more: Any) -> Any:
        found = dataclasses.replace(real(network, *given, **more), loss=next(measured, 9.0))
        losses.append((found.loss, {name: value.clone() for name, value in network.state_dict().items()}))
        return found

    options = dict(keep_best=True, checkpoint_every=1, calibrate=False)
    with monkeypatch.context() as patched:
        patched.setattr(memory, "measure", measure)
        memory.main(memory_options(encoded_runs[0], **options))
    best = next(weights for loss, weights in losses if loss == 1.0)
    world = load_world(encoded_runs[0] / "round-0/world").memory
    started = MDNRNN(world.config)
    start_from(str(encoded_runs[0] / "round-0/memory.safetensors"), started)
    for name, value in best.items():
        torch.testing.assert_close(world.state_dict()[name], value, atol=1e-3, rtol=1e-3)  # bundles hold float16
        assert torch.equal(started.state_dict()[name], value), "the next round goes on from the best weights"


def test_training_ends_with_its_patience(encoded_runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    run, real = encoded_runs[0], memory.measure
    rising = itertools.count(1.0)
    with monkeypatch.context() as patched:
        patched.setattr(memory, "measure", lambda *a, **b: dataclasses.replace(real(*a, **b), loss=next(rising)))
        memory.main(memory_options(run, keep_best=True, patience=2, checkpoint_every=1))
    assert len((run / "round-0/logs/memory.csv").read_text().splitlines()) == 1 + 3, "the best check and two more"


def test_passes_bound_the_steps() -> None:
    config = memory.of_kind("mdn-rnn", steps=100_000, batch_size=4, sequence_length=8)
    assert memory.planned_batches(config, 640) == 3125
    assert memory.planned_batches(config.replace(passes=10), 640) == 200
    assert memory.planned_batches(config.replace(passes=1000), 640) == 3125


@pytest.mark.parametrize("kind", ["mdn-rnn", "autoregressive"])
def test_memory_writes_a_world_that_can_be_dreamt(encoded_runs: list[Path], kind: str) -> None:
    run = encoded_runs[0]
    metrics = memory.main(memory_options(run, frame_skip=3, kind=kind))
    assert all(np.isfinite(value) for value in to_json(metrics).values())
    world = load_world(run / "round-0/world")
    assert world.config.frame_skip == 3 and world.config.memory.hidden == 8 and world.config.memory.kind == kind
    assert read_config(run / "round-0/world")["card"]["memory"] == to_json(metrics)
    assert len(world.initial_means) == 3, "the first frames of the training episodes"


def test_memory_keeps_to_the_v_it_learnt_with(encoded_runs: list[Path]) -> None:
    """The latents of another one mean something else; the same one elsewhere is the same."""
    run, other = encoded_runs
    weights = [folder / "round-0" / "vision.safetensors" for folder in encoded_runs]
    memory.main(memory_options(run))
    shutil.copy(weights[1], weights[0])
    memory.main(memory_options(run))
    weights[1].unlink()
    vision.main(vision_options(other, seed=1))
    shutil.copy(weights[1], weights[0])
    with pytest.raises(OptionsDiffer, match="vision"):
        memory.main(memory_options(run))


def test_a_round_without_a_v_sees_with_the_one_before(encoded_runs: list[Path]) -> None:
    run = encoded_runs[0]
    memory.main(memory_options(run, round=1))
    assert (run / "round-1/world/config.json").exists() and not (run / "round-1/vision.safetensors").exists()
    assert RunFolder(run).world_round().number == 1 and RunFolder(run).vision_round(1).number == 0


def test_memory_needs_a_v(runs: list[Path]) -> None:
    with pytest.raises(BrokenStore, match=r"vision\.safetensors"):
        memory.main(memory_options(runs[0]))


@pytest.mark.parametrize("stage", ["vision", "memory"])
@pytest.mark.parametrize(("what", "batch"), [("loss", 1), ("gradient", 4), ("weights", 3), ("weights", 4)])
def test_a_poisoned_batch_ends_the_stage_and_spares_its_checkpoint(
    encoded_runs: list[Path], monkeypatch: pytest.MonkeyPatch, stage: str, what: str, batch: int
) -> None:
    module, options = STAGES[stage]
    whole, poisoned = encoded_runs
    for path in [path for run in encoded_runs for path in run.glob("round-0/vision*")] if stage == "vision" else []:
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
    path = poisoned / "round-0" / f"{stage}.safetensors"
    assert path.exists() == (batch == 4)  # after 3 a checkpoint is due, but not of weights that are none
    if path.exists():
        assert all(value.isfinite().all() for value in load_file(path).values())
    module.main(options(poisoned))
    assert_equal(load_file(whole / "round-0" / f"{stage}.safetensors"), load_file(path))
