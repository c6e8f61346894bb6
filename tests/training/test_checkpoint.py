"""What all stages train with: checkpoints of finite weights only, rates within their bounds, and generators."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers import TINY
from training.infra.checkpoint import load_checkpoint, read_tensors, read_vision, save_checkpoint, save_tensors
from training.learning import optim
from training.learning.optim import one_cycle
from wm_envs.errors import BrokenStore, Diverged
from wm_envs.models.memory.mdn_rnn import MDNRNN
from wm_envs.models.vision.conv_vae import ConvVAE


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
        optim.total_loss(torch.tensor(value))
    model = torch.nn.Linear(2, 2)
    (model(torch.ones(2)).sum() * value).backward()
    with pytest.raises(Diverged, match="gradient"):
        optim.clip_gradients(model, 1.0)


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
    generators = [optim.generator(seed, step) for seed in range(4) for step in range(50)]
    assert len({float(torch.rand(1, generator=generator)) for generator in generators}) == 200


def saved(path: Path, model: torch.nn.Module) -> Path:
    save_checkpoint(path, model, torch.optim.Adam(model.parameters()), 1)
    return path


def test_a_checkpoint_of_v_says_what_v_is(tmp_path: Path) -> None:
    model = ConvVAE(TINY.vision)
    found = read_vision(saved(tmp_path / "c", model))
    assert found.config == TINY.vision
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("config", [
    None, "", "[]", "3", "{", "[" * 100_000, '{"latent": "4"}', '{"latent": 4.0}', '{"sizes": 4}', '{"latent": 0}',
    '{"latent": 1000000000000}', '{"latent": 5, "channels": [4, 4, 8, 8]}', '{"latent": 4, "channels": [4]}',
    '{"latent": 4, "channels": [4, 4, 8, "8"]}', '{"latent": 4}',
])  # fmt: skip
def test_a_config_that_is_none_or_of_another_model_is_refused(tmp_path: Path, config: str | None) -> None:
    path = saved(tmp_path / "c", ConvVAE(TINY.vision))
    tensors, header = read_tensors(path)
    del header["config"]
    save_tensors(path, tensors, header | ({} if config is None else {"config": config}))
    for read in (read_vision, lambda path: load_checkpoint(path, ConvVAE(TINY.vision))):
        with pytest.raises(BrokenStore, match=str(path)):
            read(path)


def test_m_is_not_filled_from_an_m_with_another_config(tmp_path: Path) -> None:
    path = saved(tmp_path / "c", MDNRNN(TINY.memory))
    assert json.loads(read_tensors(path)[1]["config"]) == dataclasses.asdict(TINY.memory)
    load_checkpoint(path, MDNRNN(TINY.memory))
    with pytest.raises(BrokenStore, match="termination_weight"):
        load_checkpoint(path, MDNRNN(dataclasses.replace(TINY.memory, termination_weight=3.0)))
