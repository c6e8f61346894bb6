"""The table of twelve games: its cells at a small size, what it does again, and how it is rendered."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import game_cells, game_table, games
from benchmarks.count_frames import KINDS
from benchmarks.game_cells import BaselinesCell, Cell, RunCell, blind_returns, tree_bytes
from benchmarks.game_list import Game
from benchmarks.game_table import Record, markdown, page, rows_of
from experiments.pixel_ppo import PixelJob, PixelScore, PixelTraining
from tests.games.test_any_env import SMALL
from training.acting.policies import Constant
from training.infra.pool import Workers
from training.infra.records import to_json
from training.judging.baselines import Baseline
from training.judging.scoring import TEST_SEEDS, Score
from wm_envs.errors import OptionsDiffer

PADDLE = Game("examples.paddle:Paddle-v0")
PIXELS = ["--frames", "500", "--checkpoints", "1", "--validate-episodes", "1", "--episodes", "2", "--workers", "1"]


def score(mean: float, interval: float = 1.0) -> Score:
    return Score(mean=mean, std=1.0, interval=interval, p10=mean, episodes=100)


def run_result(real: float) -> RunCell:
    frames = dict.fromkeys(KINDS, 0) | {
        "collected": 700,
        "collected later": 200,
        "validation": 90,
        "looks": 9,
        "test": 5,
    }
    return RunCell(
        real=score(real), dream=score(12), spearman=0.9, relative_error=0.05, policies=12, doctor="V: 3", minutes=11.4,
        peak_gib=2.25, frames=frames,
    )  # fmt: skip


def pixel_result(mean: float) -> PixelScore:
    return PixelScore(
        score=score(mean), frames=9_990, best=999, deterministic=True, curve=((999, mean),), minutes=1.0,
        frames_per_second=200.0,
    )  # fmt: skip


BASELINES = BaselinesCell(
    random=Baseline(policy="random", score=score(1)), constant=Baseline(policy="action 1", score=score(2)),
    script=Baseline(policy="alternate 5", score=score(3)), minutes=0.5,
)  # fmt: skip


def record(cell: str, result: Any = None, game: str = "CartPole-v1", minutes: int = 12, error: str = "") -> Record:
    return Record(
        game=game, cell=cell, minutes=minutes, options={}, result=to_json(result or {}), error=error, date="2026-12-01",
        commit="0123456", command="python -m benchmarks.games", machine="a machine",
    )  # fmt: skip


def test_a_row_has_its_cells_and_only_clear_differences_count() -> None:
    def rows(real: float, pixels: float) -> list[game_table.Row]:
        return rows_of([
            record("run", run_result(real)), record("baselines", BASELINES), record("pixels-10x", pixel_result(pixels)),
        ])  # fmt: skip

    (row,) = rows(15.1, 13)
    assert row.run and row.run.used == 999 and row.baselines == BASELINES and row.beats
    assert not rows(14.9, 13)[0].beats and not rows(11, 13)[0].beats
    assert rows_of([record("run", run_result(15))])[0].beats is None
    budgets = [record("run", run_result(15), minutes=minutes) for minutes in (12, 30)]
    assert [row.minutes for row in rows_of([record("baselines", BASELINES), *budgets])] == [12, 30]


def test_the_table_for_readers() -> None:
    text = markdown([
        record("run", run_result(150)), record("baselines", BASELINES), record("pixels-10x", pixel_result(13)),
        record("run", game="Acrobot-v1", error="RuntimeError: a | b"),
    ])  # fmt: skip
    assert "**150.0 (149.0 to 151.0)**" in text and "2.00 (1.00 to 3.00), action 1" in text
    assert "13.0 (12.0 to 14.0), 9,990 frames" in text and "| yes |" in text and "as many frames" not in text
    assert "run: RuntimeError: a / b" in text and "999 = 900 + 90 + 9" in text and "12, 0.900, 5.0%" in text
    assert text.endswith("The run clearly beats PPO with ten times its frames on 1 of 1 games.\n")
    lines = [line.count("|") for line in text.splitlines() if line.startswith("|")]
    assert len(set(lines[:4])) == 1, "every line has every column"


def test_what_is_there_is_not_done_again_and_what_failed_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[str, int]] = []
    faults = ["no memory\nhere"]

    def baselines(cell: Cell) -> BaselinesCell:
        done.append((cell.game.env, cell.minutes))
        if cell.game.env == "Acrobot-v1" and faults:
            raise RuntimeError(faults.pop())
        return BASELINES

    monkeypatch.setitem(games.CELLS, "baselines", baselines)
    words = ["--games", "CartPole-v1", "Acrobot-v1", "--cells", "baselines", "--out", str(tmp_path)]
    games.main(words)
    failed = json.loads((tmp_path / "Acrobot-v1/baselines.json").read_text())
    assert failed["error"] == "RuntimeError: no memory" and failed["result"] == {}
    assert "RuntimeError: no memory" in (tmp_path / "games.md").read_text()
    games.main([*words, "--minutes", "12", "30"])  # baselines do not depend on the budget
    assert [env for env, _ in done] == ["CartPole-v1", "Acrobot-v1", "Acrobot-v1"]
    assert "RuntimeError" not in (tmp_path / "games.md").read_text()
    with pytest.raises(OptionsDiffer, match="episodes"):
        games.main([*words, "--episodes", "7"])


def test_pixels_need_the_frames_of_the_run(tmp_path: Path) -> None:
    words = ["--games", "Paddle-v0", "--cells", "pixels", "--out", str(tmp_path)]
    games.main(words)
    assert "--frames" in (tmp_path / "games.md").read_text()
    cell = Cell(game=PADDLE, minutes=30, folder=tmp_path)
    (tmp_path / "run-30.json").write_text(json.dumps({"result": to_json(run_result(3))}))
    assert game_cells.frames_of(cell) == 999


def test_what_is_kept_is_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(game_table, "KEPT", tmp_path / "games.json")
    monkeypatch.setattr(game_table, "PAGE", tmp_path / "games.md")
    game_table.keep([record("baselines", BASELINES), record("run", error="RuntimeError: no")])
    game_table.keep([record("run", run_result(15)), record("baselines", BASELINES, minutes=30)])
    kept = list(game_table.kept())
    assert [(each.cell, each.minutes) for each in kept] == [("run", 12), ("baselines", 30)]
    assert (tmp_path / "games.md").read_text() == page(kept)


def test_the_documentation_is_rendered_from_its_results() -> None:
    kept = list(game_table.kept())
    assert game_table.PAGE.read_text() == page(kept)
    assert {each.game for each in kept} <= games.GAMES.keys()


def test_policies_that_see_nothing_play_what_the_game_plays() -> None:
    """Without pictures, a game pays the same."""
    policy = Constant("constant", 1)
    returns = blind_returns(PADDLE.task, [policy], TEST_SEEDS, 3, Workers(1))["constant"]
    game, paid = PADDLE.task.open(), []
    for seed in range(TEST_SEEDS, TEST_SEEDS + 3):
        game.reset(seed)
        total, over = 0.0, False
        while not over:
            tick = game.advance(np.array(PADDLE.task.actions.discrete[1], np.float32), 1)
            total, over = total + tick.reward, tick.terminated
        paid.append(total)
    assert returns.tolist() == paid


def test_the_command_of_a_cell(tmp_path: Path) -> None:
    words = ["--games", "Paddle-v0", "--minutes", "12", "--frames", "500", "--out", str(tmp_path)]
    cell = games.make_cell("Paddle-v0", 12, games.parser().parse_args(words), ("--rounds", "0"))
    start = "python -m benchmarks.games --games Paddle-v0 --cells"
    assert games.command_of("Paddle-v0", "run", cell) == f"{start} run --minutes 12 -- --rounds 0"
    assert games.command_of("Paddle-v0", "baselines", cell) == f"{start} baselines"
    assert games.command_of("Paddle-v0", "pixels", cell) == f"{start} pixels --minutes 12 --frames 500"


@pytest.mark.slow
def test_pixel_training_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = PixelJob(
        task=PADDLE.task.name, frames=2_048, checkpoints=2, validate_episodes=2, episodes=9, workers=1,
        seeds=range(1_000_000, 7_000_000),
    )  # fmt: skip
    training = PixelTraining(job, tmp_path)
    training._train(1, 1_024)
    training.learner.env.close()
    again = PixelTraining(job, tmp_path)
    trained: list[int] = []
    monkeypatch.setattr(
        again, "_train", lambda number, target, train=again._train: trained.append(number) or train(number, target)
    )
    found = again.run()
    assert trained == [2] and [frames for frames, _ in found.curve] == [1_024, 2_048] and found.score.episodes == 9
    assert not (tmp_path / "pixels.pt").exists()


def test_the_memory_of_a_process() -> None:
    assert 10 * 2**20 < tree_bytes(os.getpid()) < 2**36 and tree_bytes(2**30) == 0


@pytest.mark.slow
def test_the_whole_command_on_the_paddle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--games", "Paddle-v0", "--minutes", "1", "--out", str(tmp_path), *PIXELS]
    few = [word for word in SMALL if word not in ("--workers", "1")]
    small = few[: few.index("--evaluate.episodes")]
    games.main([*words, "--", *small])
    said = capsys.readouterr().out
    rows = rows_of(games.found_in(tmp_path))
    assert len(rows) == 1 and not rows[0].errors and rows[0].run and rows[0].pixels and rows[0].pixels_10x
    run = rows[0].run
    assert run.real.episodes == 2 and run.frames["collected"] >= 400 and run.frames["test"] > 0
    assert run.frames["validation"] > 0 and run.frames["training"] == 0 and run.peak_gib > 0.1
    assert rows[0].pixels_10x.frames >= 5_000 and "on 0 of 1 games" in said
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*.json")}
    games.main([*words, "--", *small])
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*.json")} == before


def test_every_cell_has_a_type() -> None:
    assert game_cells.CELLS.keys() == game_cells.KINDS.keys()
    assert {each.name for each in dataclasses.fields(game_table.Row)} >= {
        cell.replace("-", "_") for cell in games.CELLS
    }
