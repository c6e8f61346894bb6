"""The end of a dream is shifted until players live as long as in the game."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers import tiny_model
from training.infra.pool import Workers
from training.judging import calibration
from training.judging.calibration import calibrate_end, next_shift
from training.stages.fidelity import Command as FidelityCommand
from training.stages.fidelity import main
from wm_envs.errors import BrokenWorld, InvalidOption, UnknownName
from wm_envs.files import write_json
from wm_envs.worlds.bundle import PRETRAINED, load_world, read_config, read_controller

ALONE = Workers(1)


def test_the_shift_moves_the_end() -> None:
    world = tiny_model()
    generator = torch.Generator().manual_seed(0)
    state, noise = world.initial_state(64, generator), world.draw_noise(64, generator)
    shifted = world.share(world.config.__class__(**vars(world.config) | {"termination_shift": 1.0}))
    before, after = (each.step(state, torch.zeros(64, 1), noise, torch.ones(1, 1))[1] for each in (world, shifted))
    logits = [outcome.termination_probability.logit() for outcome in (before, after)]
    assert torch.allclose(logits[1] - logits[0], torch.ones(64), atol=1e-3)
    assert after.terminated.sum() > before.terminated.sum()


def test_the_secant_finds_the_shift() -> None:
    tries = [(0.0, 0.2)]
    while abs(tries[-1][1]) > 0.001:
        shift = next_shift(tries)
        tries.append((shift, 0.2 - 0.25 * shift))
    assert len(tries) == 3 and tries[-1][0] == pytest.approx(0.8)
    assert next_shift([(2.5, 1.0)]) == calibration.FARTHEST


def test_players_live_as_long_as_in_the_game(own_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = read_controller(own_world)[1]
    seen: list[str] = []

    def stored(folder: Path, world: Any, policies: Any, *_: Any) -> dict[str, Any]:
        seen.extend(policy.name for policy in policies)
        return {policy.name: np.full(8, 20.0) for policy in policies}

    monkeypatch.setattr(calibration, "game_returns", stored)
    found = calibrate_end(own_world, 1.0, ALONE, dreams=64, iterations=6)
    before, after = found.mean_log_ratios[0], found.mean_log_ratios[-1]
    assert before > 0.3 and abs(after) < 0.1 and found.termination_shift > 0  # it lived some 40 ticks
    assert load_world(own_world).config.termination_shift == found.termination_shift
    assert torch.equal(read_controller(own_world)[1], parameters)
    assert seen and not {"alternate 20", "alternate 92", "controller"} & set(seen)  # two are held out
    calibrate_end(own_world, 1.0, ALONE, controllers="all", dreams=2, iterations=1)
    assert "controller" in seen
    with pytest.raises(UnknownName, match="controllers"):
        calibrate_end(own_world, 1.0, ALONE, controllers="contoller")


def test_what_is_refused(tiny_world: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="a folder of your own"):
        main(FidelityCommand(world="takecover", calibrate=True))
    copy = tmp_path / "car"
    shutil.copytree(PRETRAINED / "carracing", copy)
    with pytest.raises(InvalidOption, match="survival"):
        calibrate_end(copy, 1.0, ALONE)
    broken = tmp_path / "broken"
    shutil.copytree(tiny_world, broken)
    config = read_config(broken)
    assert config["world"]["termination_shift"] == 0
    config["world"]["termination_shift"] = 99.0
    write_json(broken / "config.json", config)
    with pytest.raises(BrokenWorld, match="termination_shift is 99"):
        load_world(broken)
