"""evolve: resumed searches, validation, equal dreams for all candidates, damaged histories."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers import TINY_CONTROLLER, evolve_options, tiny_model
from training.acting import rollout as episodes
from training.acting.policies import Population
from training.judging.scoring import Card, Score
from training.stages import evolve
from training.stages.evolve import Search
from wm_envs.envs import dreams as dreams_module
from wm_envs.envs.dreams import Dreams
from wm_envs.errors import BrokenStore, Diverged
from wm_envs.models.controller import act
from wm_envs.worlds.bundle import read_config, read_controller


@pytest.fixture
def search_runs(tiny_world: Path, tmp_path: Path) -> list[Path]:
    folders = [tmp_path / name for name in ("whole", "resumed")]
    for run in folders:
        shutil.copytree(tiny_world, run / "round-0/world")
    return folders


def history(run: Path, name: str = "controller") -> list[dict[str, Any]]:
    return json.loads((run / "round-0" / "evolve" / name / "history.json").read_text())["generations"]


def test_resumed_search_equals_the_uninterrupted_one(search_runs: list[Path]) -> None:
    whole, resumed = search_runs
    metrics = evolve.main(evolve_options(whole))
    evolve.main(evolve_options(resumed, generations=2))
    assert evolve.main(evolve_options(resumed)) == metrics
    assert len(history(whole)) == 4
    assert history(whole) == history(resumed)
    assert torch.equal(read_controller(whole / "round-0/world")[1], read_controller(resumed / "round-0/world")[1])


def test_best_validated_mean_is_saved(search_runs: list[Path]) -> None:
    run = search_runs[0]
    evolve.main(evolve_options(run, name="best"))
    best = max((entry for entry in history(run, "best") if "dream" in entry), key=lambda entry: entry["dream"]["mean"])
    config, parameters = read_controller(run / "round-0/world", "best")
    assert config == TINY_CONTROLLER and parameters.tolist() == pytest.approx(best["parameters"])
    assert list(read_config(run / "round-0/world")["controllers"]) == ["controller", "best"], "others are kept"


@pytest.mark.parametrize("stop", [2, 4])
def test_best_controller_survives_a_resume(search_runs: list[Path], monkeypatch: pytest.MonkeyPatch, stop: int) -> None:
    """Also with scores from dreams only, and when a finished search is run again."""
    run = search_runs[0]
    judged = iter([100.0, 50.0])

    def evaluate_policy(*given: Any) -> Card:
        return Card(dream=Score.of(np.array([next(judged)])))

    monkeypatch.setattr(evolve, "evaluate_policy", evaluate_policy)
    evolve.main(evolve_options(run, generations=stop))
    first = history(run)[1]["parameters"]
    score = evolve.main(evolve_options(run)).dream
    assert score and score.mean == 100
    assert read_controller(run / "round-0/world")[1].tolist() == pytest.approx(first)


def test_history_without_steps_is_refused_for_a_step_budget(search_runs: list[Path]) -> None:
    run = search_runs[0]
    evolve.main(evolve_options(run, generations=1))
    entries = [{name: value for name, value in entry.items() if name != "steps"} for entry in history(run)]
    (run / "round-0" / "evolve" / "controller" / "history.json").write_text(json.dumps({"generations": entries}))
    with pytest.raises(BrokenStore, match="how many steps"):
        evolve.main(evolve_options(run, steps=1000))
    evolve.main(evolve_options(run, generations=2))


def test_fewer_generations_than_done_is_no_error(search_runs: list[Path]) -> None:
    run = search_runs[0]
    evolve.main(evolve_options(run, generations=3, validate_every=10))
    entries = history(run)
    for entry in entries:
        entry.pop("dream", None), entry.pop("parameters", None)  # as if interrupted before a validation
    (run / "round-0" / "evolve" / "controller" / "history.json").write_text(json.dumps({"generations": entries}))
    evolve.main(evolve_options(run, generations=3, validate_every=10))


NO_GENERATION = ['{"scores": [1]}', '{"fitness": [1, 2]}', '{"fitness": 0}', "3"]
DAMAGED = ["", "[{", "{}", "[]", '{"generations": 3}', '{"generations": [], "crc32": "0"}',
           *['{"generations": [' + entry + "]}" for entry in NO_GENERATION]]  # fmt: skip


@pytest.mark.parametrize("text", DAMAGED)
def test_damaged_history_is_refused(search_runs: list[Path], text: str) -> None:
    run = search_runs[0]
    evolve.main(evolve_options(run, generations=1))
    (run / "round-0" / "evolve" / "controller" / "history.json").write_text(text)
    with pytest.raises(BrokenStore, match=r"history\.json"):
        evolve.main(evolve_options(run))


@pytest.mark.parametrize("rollouts", [1, 3, 16])
def test_scores_do_not_depend_on_dropping_finished_envs(monkeypatch: pytest.MonkeyPatch, rollouts: int) -> None:
    world = tiny_model()
    candidates = np.random.default_rng(0).normal(size=(6, 13))
    scores, counted = [], []
    for share in (0.0, 0.8, 1.0):
        monkeypatch.setattr(dreams_module, "DROP_BELOW", share)
        population = Population(TINY_CONTROLLER, candidates, rollouts)
        dreams = episodes.dream_episodes(world, population, rollouts, 1.0, seed=3, groups=6)
        scores.append(dreams.returns)
        counted.append(dreams.steps)
    assert scores[0].shape == (6, rollouts) and (rollouts < 16 or len(np.unique(scores[0])) > 3)
    assert np.array_equal(scores[0], scores[1]) and np.array_equal(scores[0], scores[2])
    survived = scores[0].sum() / world.config.frame_skip  # half of the terminating step is survived
    assert len(set(counted)) == 1 and survived <= counted[0] <= survived + scores[0].size


def test_all_candidates_get_the_same_dreams() -> None:
    world, one = tiny_model(), np.random.default_rng(0).normal(size=13)
    population = Population(TINY_CONTROLLER, np.stack([one, one, one]), 4)
    scores, others = (episodes.dream_episodes(world, population, 4, 1.0, seed, groups=3).returns for seed in (3, 4))
    assert (scores == scores[0]).all() and not np.array_equal(scores, others)


def test_a_population_acts_as_its_candidates() -> None:
    candidates, features = np.random.default_rng(0).normal(size=(3, 13)), torch.randn(4, 12)
    dreams = Dreams(tiny_model(), 6)
    act_for_all, _ = Population(TINY_CONTROLLER, candidates, 2).actor(dreams, range(6))
    actions = act_for_all(features, torch.tensor([0, 3, 4, 5]), 0)
    for row, who in enumerate((0, 1, 2, 2)):
        single = act(TINY_CONTROLLER, torch.tensor(candidates[who], dtype=torch.float32), features[row : row + 1])
        torch.testing.assert_close(actions[row : row + 1], single)


def test_search_improves_and_depends_only_on_its_seed() -> None:
    def climb(seed: int) -> np.ndarray:
        search = Search(np.zeros(3), 0.5, 8, seed)
        for _ in range(60):
            search.tell(-((search.ask() - [1, 2, 3]) ** 2).sum(1))
        return search.mean

    assert climb(0) == pytest.approx([1, 2, 3], abs=0.05)
    np.random.seed(1)  # noqa: NPY002 (whatever the global generator does)
    assert np.array_equal(climb(0), climb(0)) and not np.array_equal(climb(0), climb(1))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_search_refuses_scores_that_are_not_finite(bad: float) -> None:
    search = Search(np.zeros(3), 0.5, 4, 0)
    search.ask()
    mean = search.mean.copy()
    with pytest.raises(Diverged, match="fitness"):
        search.tell(np.array([1.0, bad, 0.0, 2.0]))
    assert np.array_equal(search.mean, mean)
