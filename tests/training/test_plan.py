"""Planning in the dream: on worlds where the best action is known, and as a stage."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers import TINY, TINY_CONTROLLER, last_json, tiny_model
from training.__main__ import main
from training.acting import rollout as rollouts
from training.acting.planning import SearchPolicy, choose, simulations_per_second
from training.acting.policies import Constant, ControllerPolicy
from training.acting.rollout import Played, rollout
from training.acting.simulation import CONTROLLER, METHODS, Simulator
from training.acting.tree_search import Node, descend
from training.stages import plan
from training.stages.plan import Command as PlanCommand
from wm_envs.envs.dreams import Dreams
from wm_envs.errors import InvalidOption, OptionsDiffer, UnknownName
from wm_envs.models.world_model import WorldModel

SEARCH = SearchPolicy("search", simulations=24, horizon=6, hold=2)
LEFT = 2  # in `Actions.discrete` of Take Cover: stay, right, left


def left_is_safe() -> WorldModel:
    """A world in which every step ends the game with probability 0.4, or almost never if the player goes left."""
    world = tiny_model()
    memory = world.memory
    with torch.no_grad():
        for parameter in memory.parameters():
            parameter.zero_()
        hidden, action = memory.config.hidden, memory.config.latent  # the index of the action among the inputs
        memory.lstm.bias_ih_l0[: 2 * hidden] = torch.tensor([9.0, -9.0]).repeat_interleave(hidden)  # enter, forget
        memory.lstm.bias_ih_l0[3 * hidden :] = 9.0  # leave
        memory.lstm.weight_ih_l0[2 * hidden, action] = 9.0  # unit 0 is tanh(tanh(9 * action))
        memory.head.weight[memory.termination_output, 0] = 20.0
        memory.head.bias[memory.termination_output] = math.log(10 * 2 / 3)
    return world


def state_of(world: WorldModel, games: int = 5) -> Any:
    return world.initial_state(games, torch.Generator().manual_seed(0))


def test_the_world_of_these_tests_is_what_it_says() -> None:
    world = left_is_safe()
    run = Simulator(world, SEARCH).run(state_of(world, 3), torch.tensor([[0], [1], [LEFT]]), 3, seed=0)
    chance = 1 - (run.returns - 2.5) / 1.5  # 4 ticks for a step that is survived, 2.5 for the last one
    assert chance[0].item() == pytest.approx(0.4, abs=0.01) and chance[1] > 0.99 and chance[2] < 0.01


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_safe_action(method: str) -> None:
    world = left_is_safe()
    simulator = Simulator(world, dataclasses.replace(SEARCH, method=method))
    assert choose(simulator, state_of(world), seed=3).tolist() == [LEFT] * 5


@pytest.mark.parametrize("method", METHODS)
def test_a_search_does_not_depend_on_the_games_beside_it(method: str) -> None:
    world = tiny_model()
    with torch.no_grad():
        for parameter in world.memory.lstm.parameters():
            parameter.mul_(6)  # so that the best action depends on the state
    simulator = Simulator(world, dataclasses.replace(SEARCH, method=method, simulations=48))
    state = state_of(world, 12)
    together = choose(simulator, state, seed=4)
    apart = [choose(simulator, state.select(torch.tensor([at])), seed=4) for at in range(12)]
    assert together.tolist() == torch.cat(apart).tolist() and len(set(together.tolist())) > 1


def test_one_simulation_is_one_dream() -> None:
    """The expected return of a plan, from the rewards and ends of the same dream stepped by hand."""
    world, search = tiny_model(), dataclasses.replace(SEARCH, discount=0.9, hold=2)
    state, actions = state_of(world, 1), [0, 1, 2, 1]
    run = Simulator(world, search).run(state, torch.tensor([actions]), 1, seed=5)
    dream = Dreams(world, 1)
    dream.seed(5)
    dream.reset(state=state)
    total, alive = 0.0, 1.0
    for at, action in enumerate(actions):
        choice = np.array([world.task.actions.discrete[action]], np.float32)
        end = float(dream.step(world.task.actions.to_game(choice)).infos["termination_probability"][0])
        total += alive * ((1 - end) * 4 + end * 2.5)
        alive *= (1 - end) * 0.9
        if at == 1:
            assert float(run.first[0]) == pytest.approx(total) and float(run.weight[0]) == pytest.approx(alive)
            assert torch.equal(run.state.latents, dream.state.latents)
    assert float(run.returns[0]) == pytest.approx(total)


def test_limits_cut_returns() -> None:
    world = tiny_model()
    plans, state = torch.tensor([[0, 1, 2]] * 2), state_of(world, 1).select(torch.tensor([0, 0]))
    simulator = Simulator(world, dataclasses.replace(SEARCH, hold=1))
    cut = simulator.run(state, plans, 1, seed=1, limits=torch.tensor([1, 3]))
    assert cut.returns[0] == cut.first[0] and cut.returns[1] > cut.returns[0]


def controller(action: float) -> ControllerPolicy:
    """A controller that always does the same."""
    parameters = [0.0] * TINY_CONTROLLER.parameters
    parameters[-1] = 9.0 * action
    return ControllerPolicy("constant", TINY_CONTROLLER, tuple(parameters))


def test_the_controller_proposes_and_plays_the_rest() -> None:
    world = left_is_safe()
    state = state_of(world)
    search = dataclasses.replace(SEARCH, controller=controller(-1.0))
    simulator = Simulator(world, search)
    assert simulator.proposals(state).tolist() == [LEFT] * 5
    by_controller = simulator.run(state, torch.full((5, 4), CONTROLLER), 5, seed=0)
    assert torch.equal(by_controller.returns, simulator.run(state, torch.full((5, 4), LEFT), 5, seed=0).returns)
    for proposal, margin, expected in ((1.0, 0.0, LEFT), (1.0, 1e9, 1), (-1.0, 0.0, LEFT)):
        search = dataclasses.replace(SEARCH, simulations=90, controller=controller(proposal), margin=margin)
        found = choose(Simulator(tiny_model() if margin else world, search), state, seed=1)
        assert found.tolist() == [expected] * 5, "a large margin keeps the proposal"


def test_an_edge_of_the_tree_has_the_square_root_of_its_visits_as_children() -> None:
    state = state_of(tiny_model(), 1)
    root = Node(state, 0, [1.0])
    for _ in range(30):
        path = descend(root)
        node, action = path[-1]
        node.children[action].append(Node(state, 0, [1.0]))
        for parent, taken in path:
            parent.back_up(taken, 1.0)
    assert root.visits == [30] and len(root.children[0]) == math.ceil(math.sqrt(30))
    assert sum(sum(child.visits) + 1 for child in root.children[0]) == 30, "every simulation adds one node"


def test_an_action_is_held_until_the_next_search(monkeypatch: pytest.MonkeyPatch) -> None:
    world, searched = tiny_model(end_bias=-60.0), []
    monkeypatch.setattr(
        "training.acting.planning.choose",
        lambda simulator, state, seed: searched.append(seed) or torch.full((len(state.ticks),), len(searched) % 3),
    )
    dreams = Dreams(world, 2)
    dreams.seed(0)
    dreams.reset()
    act, observation = dataclasses.replace(SEARCH, replan=3, seed=100).actor(dreams, range(2))
    seen: list[float] = []

    def recorded(features: Any, envs: Any, step: int) -> Any:
        actions = act(features, envs, step)
        seen.append(float(actions[0, 0]))
        return actions

    rollout(dreams, recorded, observation, 7)
    assert searched == [100, 103, 106] and seen == [1.0] * 3 + [-1.0] * 3 + [0.0]


def test_a_search_lives_longer_than_a_constant_action_in_a_dream() -> None:
    world = left_is_safe()
    scores = {}
    for name in ("search", "stay"):
        dreams = Dreams(world, 8)
        dreams.seed(1)
        dreams.reset()
        policy = SEARCH if name == "search" else Constant("stay", 0)
        scores[name] = rollout(dreams, *policy.actor(dreams, range(8)), 8).returns.mean()
    assert scores["search"] > 31 and scores["stay"] < 15, "8 steps of 4 ticks"


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the policies of all tiles that were played; nothing opens a game."""
    names: list[str] = []

    def play(job: Any) -> list[Played]:
        names.append(job.policy.name)
        return [Played(float(seed % 1000), False) for seed in job.seeds]

    monkeypatch.setattr(plan, "play_real", play)
    monkeypatch.setattr(plan, "check_game", lambda task: None)
    return names


def options(world: Path, **changes: Any) -> PlanCommand:
    small = {"simulations": 12, "horizon": 4, "hold": 2, "episodes": 10, "workers": 1}
    return PlanCommand.flat(world=str(world), **small | changes)


def test_the_stage_resumes(tiny_world: Path, tmp_path: Path, played: list[str]) -> None:
    scores = str(tmp_path / "scores.json")
    whole = plan.main(options(tiny_world, scores=scores, method="tree"))
    assert [row.policy for row in whole.rows] == ["tree, 12 x 4", "random", "flat, 12 x 4", "controller"]
    assert all(row.mean == pytest.approx(4.5) and row.episodes == 10 for row in whole.rows)
    assert len(played) == 8, "two tiles of each"
    found = json.loads(Path(scores).read_text())
    del found["crc32"], found["scores"]["random"], found["scores"]["tree, 12 x 4"]["100009"]
    Path(scores).write_text(json.dumps(found))
    played.clear()
    assert plan.main(options(tiny_world, scores=scores, method="tree")).rows == whole.rows
    assert sorted(played) == ["random", "random", "tree, 12 x 4"]
    with pytest.raises(OptionsDiffer, match="horizon"):
        plan.main(options(tiny_world, scores=scores, method="tree", horizon=5))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"method": "luck"}, "method"),
        ({"hold": 5}, "hold"),
        ({"simulations": 2}, "simulations"),
        ({"method": "cem", "simulations": 5}, "simulations"),
        ({"method": "cem", "controller": "controller"}, "controller"),
        ({"margin": 1.0}, "margin"),
        ({"controller": "nobody"}, "controller"),
        ({"baselines": ("luck",)}, "baselines"),
    ],
)
def test_bad_options_are_refused(tiny_world: Path, played: list[str], changes: dict[str, Any], field: str) -> None:
    with pytest.raises((InvalidOption, UnknownName)) as error:
        plan.main(options(tiny_world, **changes))
    assert error.value.field == field and not played


def test_a_search_plays_the_real_game(tiny_world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("vizdoom")
    rollouts._world.cache_clear()
    words = ["--simulations", "6", "--horizon", "2", "--hold", "2", "--replan", "20", "--episodes", "2"]
    assert main(["plan", "--world", str(tiny_world), *words, "--workers", "1", "--baselines", "--json"]) == 0
    found = last_json(capsys)
    assert found["rows"][0]["mean"] > 50 and found["simulations_per_second"] > 0


def test_speed_counts_simulations(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 12.0])
    monkeypatch.setattr("training.acting.planning.time.perf_counter", lambda: next(clock))
    assert simulations_per_second(tiny_model(config=TINY), SEARCH, games=4, searches=3) == 4 * 24 * 3 / 2
