"""The bias of the end: M predicts as many ends as were recorded, and nothing else changes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers import synthetic_store, tiny_model
from training.data.episode_store import Part, RolloutStore
from training.data.sequences import join
from training.judging.memory_metrics import fit_end_bias


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
