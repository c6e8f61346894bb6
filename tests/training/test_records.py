"""Results as files: what is read back, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.infra.records import from_json, read_record, read_result, to_json, write_result
from training.judging.fidelity import FidelityReport, PolicyRow
from training.judging.scoring import Card, Score
from training.judging.world_card import read_cards, read_world_card
from wm_envs.errors import BrokenStore
from wm_envs.worlds.bundle import PRETRAINED, read_config

SCORE = Score.of(np.arange(10.0), finished=0.5)


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    row = PolicyRow(policy="hold 1-10", held_out=True, real=SCORE, dream=SCORE)
    report = FidelityReport(policies=(row, row), spearman=0.5, log_ratio=0.1, temperature=1.0)
    path = tmp_path / "report.json"
    write_result(path, report)
    assert read_result(FidelityReport, path) == report
    assert json.loads(path.read_text())["schema"] == 1 and "relative_error" not in read_record(path)


@pytest.mark.parametrize("change", [
    {"mean": "3"}, {"mean": None}, {"episodes": 1.5}, {"std": True}, {"interval": [1.0]},
])  # fmt: skip
def test_a_result_of_wrong_types_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BrokenStore, match=f"here.*{next(iter(change))}"):
        from_json(Score, to_json(SCORE) | change, "here")


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"schema": 2, "mean": 1.0}')
    with pytest.raises(BrokenStore, match=r"schema 2.*update"):
        read_result(Score, tmp_path / "a.json")


@pytest.mark.parametrize("world", ["takecover", "takecover-paper", "carracing"])
def test_cards_of_shipped_worlds_are_read(world: str) -> None:
    card = read_world_card(PRETRAINED / world)
    assert card.memory and card.evaluate and card.fidelity and card.fidelity.distances
    stored = read_config(PRETRAINED / world)
    assert to_json(card.evaluate) == stored["card"]["evaluate"]
    assert {name: to_json(read) for name, read in read_cards(PRETRAINED / world).items()} == {
        name: entry["card"] for name, entry in stored["controllers"].items()
    }


def test_controllers_validated_in_the_game_come_first() -> None:
    low, high = Score.of(np.array([1.0])), Score.of(np.array([9.0]))
    cards = [Card(dream=high), Card(dream=high, validation=low), Card(dream=low, validation=high)]
    assert max(cards, key=lambda card: card.selection) is cards[2]
    assert sorted(cards, key=lambda card: card.selection) == cards
