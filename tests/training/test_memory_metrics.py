"""The bias of the end: M predicts as many ends as were recorded, and nothing else changes."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers import TINY, synthetic_store, tiny_model
from training.data.episode_store import Part, RolloutStore
from training.data.sequences import Latents, join
from training.judging.memory_metrics import fit_end_bias, measure, moving_dimensions, with_training


def test_as_many_ends_are_predicted_as_were_recorded(tmp_path: Path) -> None:
    store = RolloutStore(synthetic_store(tmp_path) / "rollouts")
    encoded = [(torch.randn(part.size, 4).half(), torch.zeros(part.size, 4).half()) for part in store.parts]
    latents = join(store.parts, encoded, 1)
    memory = tiny_model(end_bias=-3.0).memory
    before = memory.head.bias.clone()
    found = fit_end_bias(memory, latents)
    assert found["calibration"] == pytest.approx(1, abs=0.01) and abs(found["shift"]) > 0.01
    moved = memory.head.bias - before
    assert float(moved[memory.termination_output]) == pytest.approx(found["shift"], abs=1e-5)
    assert int((moved != 0).sum()) == 1
    assert fit_end_bias(memory, latents)["shift"] == pytest.approx(0, abs=0.1)


def test_without_ends_the_bias_stays(tmp_path: Path) -> None:
    parts = [Part(0, Path(), np.zeros((40, 1), np.float32), np.array([40], np.int32), np.array([False]), {})]
    memory = tiny_model().memory
    assert fit_end_bias(memory, join(parts, [(torch.zeros(40, 4).half(), torch.zeros(40, 4).half())], 1)) == {}


TEN = dataclasses.replace(
    TINY,
    vision=dataclasses.replace(TINY.vision, latent=10),
    memory=dataclasses.replace(TINY.memory, latent=10),
)


def drifting(length: int = 600) -> Latents:
    """One episode of ten latents: the last two follow the action, the others stay where they are."""
    draw = torch.Generator().manual_seed(0)
    actions = torch.randint(-1, 2, (length, 1), generator=draw).float().numpy()
    means = torch.randn(10, generator=draw).repeat(length, 1)
    means[1:, 8:] += torch.from_numpy(actions[:-1]).cumsum(0) / 4
    parts = [Part(0, Path(), actions, np.array([length], np.int32), np.array([False]), {})]
    return join(parts, [(means.half(), torch.full((length, 10), -6.0).half())], 1)


def test_the_dimensions_that_move_are_measured_apart() -> None:
    latents = drifting()
    memory = tiny_model(config=TEN).memory
    assert moving_dimensions(latents, memory.modelled).nonzero()[:, 0].tolist() == [8, 9]
    found = measure(memory, latents, batch_size=2)
    assert found.moving_nll is not None and found.moving_shuffled is not None and found.moving_copy is not None
    assert found.loss is not None and found.loss >= found.nll and found.moving_nll != found.nll
    assert found.moving_copy < found.moving_nll, "random weights are worse than a copy"
    assert -2 < found.moving_copy < 0.5, "three steps of 1/4, and little noise"


def test_the_figures_of_training_stand_beside_those_of_held_out_episodes() -> None:
    held_out = measure(tiny_model(config=TEN).memory, drifting(), batch_size=2)
    both = with_training(held_out, dataclasses.replace(held_out, nll=-3.0, loss=-2.0, r2=0.5))
    assert (both.train_nll, both.train_loss, both.train_r2, both.nll) == (-3.0, -2.0, 0.5, held_out.nll)
