"""Any Gymnasium environment as a game: its description, its actions, its pictures, and a whole small run."""

import dataclasses
import enum
import hashlib
import json
import types
from itertools import islice
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray

import tests.toy_env  # noqa: F401 (registers the environments)
import wm_envs
from experiments.random_play import lone_actions
from player.drivers import Keys
from player.guides import guide_of
from tests.helpers import ROOT, TINY, fresh_process, tiny_model
from tests.training.test_budget import SPEEDS
from training.__main__ import main
from training.acting.policies import LinearScript, Tap
from training.acting.recording import STRAY, controller_episodes
from training.acting.rollout import real_returns
from training.data.episode_store import RolloutStore
from training.exports.graphs import Step, as_onnx
from training.infra.pool import Workers
from training.infra.records import read_result
from training.infra.run_folder import RunFolder
from training.judging.battery import Battery, _spread, scripts
from training.judging.choices import Choices
from training.pipeline import budget
from training.pipeline.config import choose_recipe
from training.stages import collect
from wm_envs.envs.dreams import Dreams
from wm_envs.errors import BrokenGame, BrokenWorld, InvalidAction, InvalidOption, UnknownName
from wm_envs.games.base import Task
from wm_envs.games.gym_env.actions import ActionCodec
from wm_envs.games.gym_env.describe import _meanings, describe
from wm_envs.games.gym_env.description import parse
from wm_envs.games.gym_env.frames import as_rgb, is_picture, small
from wm_envs.games.random_play import held_actions
from wm_envs.games.registry import get_task, is_task
from wm_envs.models.controller import ControllerConfig
from wm_envs.sb3 import load_policy
from wm_envs.worlds.bundle import load_world, save_controller, save_world

SPACES = {
    "discrete": spaces.Discrete(3, start=-1),
    "multi": spaces.MultiDiscrete([3, 2]),
    "binary": spaces.MultiBinary(3),
    "box": spaces.Box(np.array([-2, 0], np.float32), np.array([2, 1], np.float32)),
    "square": spaces.Box(-1, 1, (2, 2)),
    "many": spaces.MultiDiscrete([20, 20]),
    "wide": spaces.Box(-1, 1, (9,)),
}


@pytest.mark.parametrize("name", SPACES)
def test_actions_survive_their_encoding(name: str) -> None:
    space = SPACES[name]
    codec = ActionCodec.of(space)
    assert codec.space == space
    space.seed(0)
    actions = np.stack([np.asarray(space.sample()) for _ in range(20)])
    vectors = codec.encode(actions)
    assert vectors.shape == (20, codec.size) and np.abs(vectors).max() <= 1
    np.testing.assert_allclose(codec.decode(vectors), actions, atol=1e-6)
    for action, vector in zip(actions, vectors, strict=True):
        np.testing.assert_array_equal(codec.encode(action), vector)
    np.testing.assert_allclose(codec.normal(vectors), vectors, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "count"), [("discrete", 3), ("multi", 6), ("binary", 8), ("box", 6), ("many", 39), ("wide", 19)]
)
def test_controllers_choose_from_a_few_different_actions(name: str, count: int) -> None:
    codec = ActionCodec.of(SPACES[name])
    assert len(set(codec.choices)) == len(codec.choices) == count
    assert all(np.asarray(each) in codec.space for each in codec.decode(np.array(codec.choices, np.float32)))


@pytest.mark.parametrize(("name", "count"), [("pole", 9), ("box", 25), ("square", 0), ("discrete", 0)])
def test_a_small_box_has_finer_choices(name: str, count: int) -> None:
    codec = ActionCodec.of(SPACES.get(name) or spaces.Box(-2, 2, (1,)))
    assert len(set(codec.fine)) == len(codec.fine) == count
    assert all(
        np.asarray(each) in codec.space
        for each in codec.decode(np.array(codec.fine, np.float32).reshape(-1, codec.size))
    )
    assert set(codec.fine) >= set(codec.choices) or not count
    task = get_task(describe("ToyLight-v0", {"space": "box"}).name)
    assert len(task.actions.fine) == 25 and task.actions.finest == "fine"
    assert get_task(describe("ToyLight-v0").name).actions.finest == "discrete"


@pytest.mark.parametrize("name", ["endless", "dict"])
def test_other_action_spaces_are_refused(name: str) -> None:
    with pytest.raises(InvalidOption, match="action space"):
        describe("ToyLight-v0", {"space": name})


def test_pictures_of_every_layout() -> None:
    grey = np.arange(80 * 64, dtype=np.uint8).reshape(80, 64)
    colour = np.stack([grey, grey // 2, grey // 3], -1)
    np.testing.assert_array_equal(as_rgb(grey), np.stack([grey] * 3, -1))
    np.testing.assert_array_equal(as_rgb(grey[..., None]), as_rgb(grey))
    np.testing.assert_array_equal(as_rgb(np.stack([grey * 0, grey])), as_rgb(grey))  # a stack: the last one
    np.testing.assert_array_equal(as_rgb(colour.transpose(2, 0, 1)), colour)
    np.testing.assert_array_equal(as_rgb(np.stack([colour * 0, colour])), colour)
    np.testing.assert_array_equal(as_rgb(colour / np.float32(255)), colour)
    with pytest.raises(BrokenGame, match="shape"):
        as_rgb(np.zeros(5))
    assert not is_picture(spaces.Box(0, 255, (7, 7, 3), np.uint8))
    assert is_picture(spaces.Box(0, 255, (4, 84, 84), np.uint8))
    assert not is_picture(spaces.Box(-9, 9, (84, 84, 3)))


def test_pictures_are_cropped_and_shrunk_by_area() -> None:
    picture = np.zeros((130, 128, 3), np.uint8)
    picture[2:, ::2] = 200
    frame = small(picture, (2, 0, 0, 0))
    assert frame.shape == (64, 64, 3) and (frame == 100).all()
    with pytest.raises(BrokenGame, match="crop"):
        small(picture, (70, 60, 0, 0))


def test_a_description_is_the_name_of_its_task() -> None:
    found = describe("ToyLight-v0", {"space": "box"}, crop=(8, 8, 0, 0), life_loss_ends=True)
    assert (found.picture, found.tick_limit, found.ticks_per_second) == ("render", 50, 10)
    assert parse(found.name) == found and get_task(found.name).name == found.name
    assert get_task(found.name).title == "ToyLight-v0 with {'space': 'box'}"
    assert describe("ToyGrey-v0").picture == "observation"
    assert "gymnasium" in found.versions


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d.update(tick_limit=0), lambda d: d.update(crop=[1]), lambda d: d.update(id=7), lambda d: d.pop("id"),
        lambda d: d["actions"].update(sizes=[10**9]), lambda d: d["actions"].update(kind="box"),
        lambda d: d.update(x=1),
        lambda d: d.update(keys=[[1, 0, 99]]), lambda d: d["actions"].update(dtype="object"),
    ],
)  # fmt: skip
def test_a_damaged_description_is_refused(damage: Any) -> None:
    name = describe("ToyLight-v0").name
    values = json.loads(name.removeprefix("gym:"))
    damage(values)
    with pytest.raises(InvalidOption, match="description"):
        get_task("gym:" + json.dumps(values))
    assert is_task(name) and not is_task("gym:" + json.dumps(values))


def test_reading_a_description_imports_nothing_and_opens_nothing() -> None:
    name = describe("ToyLight-v0").name
    code = f"""
import sys, wm_envs
from wm_envs.games.registry import get_task
task = get_task({name!r})
print("toy_env" in sys.modules, "torch" in sys.modules)
try:
    task.open()
except Exception as error:
    print(type(error).__name__, "WM_ENVS_IMPORT" in str(error))
"""
    assert fresh_process(code) == "False False\nUnknownName True\n"


def test_unknown_ids_name_near_ones() -> None:
    with pytest.raises(UnknownName, match="did you mean 'ToyLight-v0'"):
        describe("ToyLigth-v0")
    with pytest.raises(InvalidOption, match="pictures"):
        describe("ToyBlind-v0")
    with pytest.raises(InvalidOption, match="render_mode"):
        describe("ToyLight-v0", {"render_mode": "human"})


@pytest.mark.parametrize("fault", ["make", "reset", "step", "reward", "size"])
def test_a_broken_environment_is_named(fault: str) -> None:
    with pytest.raises(BrokenGame, match="ToyLight-v0"):
        describe("ToyLight-v0", {"fault": fault})


def test_an_environment_that_ignores_its_seed_is_warned_about() -> None:
    with pytest.warns(UserWarning, match="ignores its seed"):
        describe("ToyLight-v0", {"fault": "seed"})


def test_a_lost_life_can_end_an_episode() -> None:
    for ends in (False, True):
        game = get_task(describe("ToyLight-v0", life_loss_ends=ends).name).open()
        game.reset(0)
        still = np.array([0, 1, 0], np.float32)
        assert game.advance(still, 10).ticks == (4 if ends else 10)


def test_an_environment_that_truncates_itself_has_a_limit_and_no_ends(tmp_path: Path) -> None:
    assert describe("ToyShort-v0").tick_limit == 30
    assert describe("ToyShort-v0", {"varies": True}).tick_limit == 1000
    collect.main(collect.Command.flat(run=tmp_path, env="ToyShort-v0", tick_limit=100, frames=100, workers=1))
    for part in RolloutStore(tmp_path / "rollouts").parts:
        assert not part.terminated.any() and set(part.lengths) == {30}


@pytest.mark.parametrize("limit", [0, 100])
def test_what_the_game_truncates_is_truncated(tmp_path: Path, limit: int) -> None:
    world = make_world(tmp_path / "world", env="ToyShort-v0", tick_limit=limit)
    env, many = gym.make("WMLatent-v0", world=world), gym.make_vec("WMLatent-v0", num_envs=2, world=world)
    env.reset(seed=0)
    many.reset(seed=0)
    one = [env.step(np.int64(0))[2:4] for _ in range(30)]
    assert one == [(False, False)] * 29 + [(False, True)]
    two = [many.step(np.zeros(2, np.int64))[2:4] for _ in range(31)]
    assert [bool(terminated.any()) for terminated, _ in two] == [False] * 31
    assert [truncated.tolist() for _, truncated in two] == [[False] * 2] * 29 + [[True] * 2, [False] * 2]


def played(task: Task, ticks: int = 400, episodes: int = 40) -> NDArray[np.float32]:
    """Random play, (episodes, ticks, A)."""
    plays = [held_actions(task, np.random.default_rng(seed)) for seed in range(episodes)]
    return np.array([list(islice(play, ticks)) for play in plays])


@pytest.mark.parametrize("env", ["ToyLight-v0", "ToyGrey-v0"])
def test_random_play_waits_and_taps_holds_and_mixes(env: str) -> None:
    actions = played(get_task(describe(env).name))  # no action is known to be idle
    shares = actions.mean(1).max(1)  # of the likeliest action of each episode
    assert (shares > 0.9).mean() > 0.1 and (shares < 0.6).mean() > 0.2
    assert sum(lone_actions(episode) for episode in actions) > 40
    changes = (np.diff(actions, axis=1) != 0).any(2).mean(1)
    assert (changes < 0.1).mean() > 0.1 and (changes > 0.3).mean() > 0.1
    assert set(actions[shares > 0.6].mean(1).argmax(1)) == {0, 1, 2}  # each of them may be the usual one


def test_random_play_of_a_box_takes_values_in_between() -> None:
    task = get_task(describe("ToyLight-v0", {"space": "box"}).name)
    actions, grid = played(task), np.array(task.actions.discrete, np.float32)
    between = ~(actions[:, :, None] == grid).all(3).any(2)
    assert 0.1 < between.mean() < 0.5 and np.abs(actions).max() <= 1
    assert (between.mean(1) == 0).mean() > 0.3


@pytest.mark.parametrize(("name", "digest"), [("takecover", "0d737a7e96877659"), ("carracing", "d7a232ae0f36e28b")])
def test_random_play_of_the_shipped_games_stays(name: str, digest: str) -> None:
    assert hashlib.sha256(played(get_task(name)).tobytes()).hexdigest()[:16] == digest


@pytest.mark.parametrize("sampled", [0.0, 0.5, 1.0])
def test_controllers_play_is_drawn_from_their_probabilities(tmp_path: Path, sampled: float) -> None:
    world = make_world(tmp_path / "world", env="ToyShort-v0")
    task = load_world(world).task
    choices = tuple(number for choice in task.actions.discrete for number in choice)
    config = ControllerConfig(TINY.memory.latent, TINY.memory.hidden, task.actions.size, choices=choices)
    parameters = torch.zeros(config.parameters)
    parameters[-3:] = torch.tensor([2.0, 1.0, -9.0])  # the scores: 73%, 27% and never
    save_controller(Path(world), "controller", config, parameters)
    play = np.stack([e.actions for e in controller_episodes(world, "controller", 0, [*range(8)], sampled=sampled)])
    first = play[..., 0].mean(1)  # share of the best action in each game; only every fourth pair never strays
    still = [env for env in range(8) if STRAY[env % 4] == 0]
    drawn = [env for env in still if first[env] < 1]
    assert drawn == {0.0: [], 0.5: [1, 5], 1.0: still}[sampled]
    assert all(0.4 < first[env] < 0.95 for env in drawn) and not play[still, :, 2].any()


def test_rounds_have_enough_parts_to_hold_out_a_twentieth() -> None:
    run = choose_recipe("env")
    assert run.collect.replace(frames=run.own_frames).count_parts() == 20
    assert run.collect.count_parts() == 40


@pytest.mark.parametrize("kwargs", [{}, {"space": "multi"}, {"space": "box"}])
def test_half_of_the_battery_does_not_play_at_random(kwargs: dict[str, Any]) -> None:
    task = get_task(describe("ToyLight-v0", kwargs).name)
    policies = scripts(task)
    assert len({policy.name for policy in policies}) == len(policies) <= 40
    other = [policy for policy in policies if isinstance(policy, Tap | LinearScript)]
    assert 0.4 < len(other) / len(policies) < 0.6
    many = Battery(taps=(2, 3, 4), constants=12)
    assert len(_spread(range(128), many.constants)) == 12 and _spread(range(3), 12) == [0, 1, 2]


def test_taps_are_lone_and_linear_scripts_react(tmp_path: Path) -> None:
    folder = make_world(tmp_path / "world")
    world = load_world(folder)
    taps = Tap("tap", 1, 0, 6).plan(world.task, 0, 1)
    assert np.flatnonzero(taps[:, 1]).tolist() == [*range(0, 50, 6)]
    assert Tap("tap", 1, 0, 6).plan(world.task, 0, 4)[:, 1].mean() > 0.5  # a tap is at least one step
    actions = []
    for policy in (LinearScript("linear 1", 1), LinearScript("linear 1", 1), LinearScript("linear 2", 2)):
        dreams = Dreams(world, 6)
        dreams.seed(0)
        dreams.reset()
        actor = policy.actor(dreams, range(6))
        steps = []
        for step in range(30):
            steps.append(actor.act(dreams.observe(actor.observation), dreams.envs, step).numpy())
            dreams.step(world.task.actions.to_game(steps[-1]))
        actions.append(np.stack(steps))
    one, again, other = actions
    assert (one == again).all() and (one != other).any() and (one.std(0) > 0).any() and (one.std(1) > 0).any()
    played = real_returns(folder, [LinearScript("linear 1", 1)], [0, 1], Workers(1))
    assert np.isfinite(played["linear 1"]).all()


def test_the_player_has_keys_for_it() -> None:
    task = get_task(describe("ToyLight-v0").name)  # its first action moves left, as in Gymnasium's games of three
    assert [task.actions.of_keys(*keys) for keys in ((0, 0), (1, 0), (-1, 0))] == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
    assert guide_of(task).keys == "arrows: left, right"
    box = get_task(describe("ToyLight-v0", {"space": "box"}).name)
    assert box.actions.of_keys(0, 0) == box.actions.discrete[0]


def test_digits_choose_actions_that_no_arrow_takes() -> None:
    task = get_task(describe("ToyLight-v0", {"space": "multi"}).name)
    assert guide_of(task).keys.endswith("0 to 5: actions by number")
    keys = Keys()
    keys.press("left")
    keys.press("4")
    assert tuple(keys.action(task)) == task.actions.discrete[4]  # a digit before an arrow
    keys.release("4")
    keys.release("left")
    keys.press("9")  # no such action
    assert tuple(keys.action(task)) == task.actions.of_keys(0, 0)
    assert tuple(keys.action(get_task("takecover"))) == (0.0,)  # its keys are the arrows


def test_names_of_actions_that_a_game_does_not_have_are_no_keys() -> None:
    names = enum.IntEnum("Actions", ["left", "right", "forward", "pickup"], start=0)
    game = types.SimpleNamespace(actions=names, get_keys_to_action=None)
    three = types.SimpleNamespace(unwrapped=game, action_space=spaces.Discrete(3))
    assert _meanings(three) == ["LEFT", "RIGHT", "FORWARD"]  # type: ignore[arg-type]


def make_world(
    folder: Path, kwargs: dict[str, Any] | None = None, env: str = "ToyLight-v0", tick_limit: int = 0
) -> str:
    """A random world of a toy."""
    found = describe(env, kwargs, tick_limit=tick_limit)
    memory = dataclasses.replace(TINY.memory, action=found.actions.size, reward=True)
    config = dataclasses.replace(TINY, task=found.name, memory=memory, reward_scale=0.5, frame_skip=1)
    save_world(folder, tiny_model(config=config))
    return str(folder)


@pytest.mark.slow
def test_its_step_is_exported(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    make_world(tmp_path / "world")
    world = load_world(tmp_path / "world")
    step = Step(world)
    session = runtime.InferenceSession(as_onnx(step))
    action = torch.rand(2, world.task.actions.size)
    state, _, noise, temperature = step.example
    to_game = torch.from_numpy(world.task.actions.to_game(action.numpy()))
    expected, outcome = world.step(state, to_game, noise, temperature)
    given = (*state.tensors(), action, *noise, temperature)
    found = session.run(None, {name: each.numpy() for name, each in zip(step.inputs, given, strict=True)})
    np.testing.assert_allclose(found[0], expected.latents, atol=1e-3)
    np.testing.assert_allclose(found[step.outputs.index("reward")], outcome.reward, atol=1e-3)


@pytest.mark.parametrize("space", ["discrete", "multi", "binary", "box"])
def test_its_dream_and_its_game_have_its_own_actions(tmp_path: Path, space: str) -> None:
    world = make_world(tmp_path / "world", {"space": space})
    for env_id in ("WMDream-v0", "WMLatent-v0"):
        env = gym.make(env_id, world=world)
        assert env.action_space == gym.make("ToyLight-v0", space=space).action_space
        check_env(env.unwrapped, skip_render_check=True)
        env.reset(seed=0)
        with pytest.raises(InvalidAction):
            env.step(np.full(7, 3.5))
        many = gym.make_vec(env_id, num_envs=3, world=world)
        many.reset(seed=0)
        many.action_space.seed(0)
        observations, *_ = many.step(many.action_space.sample())
        assert observations.shape == (3, *env.observation_space.shape)  # type: ignore[misc]
        choices = spaces.Discrete(len(load_world(world).task.actions.discrete))
        assert gym.make(env_id, world=world, actions="discrete").action_space == choices


def test_the_game_pays_what_the_environment_pays(tmp_path: Path) -> None:
    env, own = gym.make("WMLatent-v0", world=make_world(tmp_path / "world")), gym.make("ToyLight-v0")
    env.reset(seed=3)
    own.reset(seed=3)
    for action in (1, 1, -1, 0, 1):
        assert env.step(np.int64(action))[1] == pytest.approx(own.step(action)[1])


def test_the_wrapper_shows_what_the_game_shows(tmp_path: Path) -> None:
    world = make_world(tmp_path / "world")
    game = gym.make("WMLatent-v0", world=world)
    wrapper = wm_envs.LatentFeatures(gym.make("ToyLight-v0", render_mode="rgb_array"), world=world)
    np.testing.assert_allclose(wrapper.reset(seed=4)[0], game.reset(seed=4)[0], atol=1e-5)
    for action in (1, -1, 0, 1, 1):
        ours, theirs = wrapper.step(action), game.step(np.int64(action))
        np.testing.assert_allclose(ours[0], theirs[0], atol=1e-5)
        assert ours[1] == pytest.approx(theirs[1])
    with pytest.raises(InvalidAction):
        wrapper.step(2)
    with pytest.raises(InvalidOption, match="action space"):
        wm_envs.LatentFeatures(gym.make("ToyLight-v0", space="box"), world=world)
    with pytest.raises(InvalidOption, match="WMTakeCover-v0"):
        wm_envs.LatentFeatures(gym.make("ToyLight-v0"), world="takecover")


def test_the_wrapper_on_car_racing() -> None:
    game = gym.make("WMCarRacing-v0")
    wrapper = wm_envs.LatentFeatures(gym.make("CarRacing-v3"), world="carracing")
    np.testing.assert_allclose(wrapper.reset(seed=5)[0], game.reset(seed=5)[0], atol=1e-4)
    rng = np.random.default_rng(0)
    for _ in range(5):
        action = rng.uniform(-1, 1, 3).astype(np.float32)
        theirs = game.step(action)
        ours = wrapper.step(load_world("carracing").task.actions.to_game(action))
        np.testing.assert_allclose(ours[0], theirs[0], atol=1e-4)
        assert ours[1] == pytest.approx(theirs[1], abs=1e-5)


def test_a_bundle_with_a_damaged_description_is_refused(tmp_path: Path) -> None:
    path = Path(make_world(tmp_path / "world")) / "config.json"
    path.write_text(path.read_text().replace('\\"tick_limit\\":50', '\\"tick_limit\\":0'))
    with pytest.raises(BrokenWorld):
        load_world(path.parent)


SMALL = [
    "--rounds", "0", "--minutes", "none",
    "--own-frames", "200", "--collect.frames", "400", "--collect.part-frames", "100", "--vision.batches", "2",
    "--vision.batch-size", "8", "--memory.steps", "400", "--memory.batch-size", "4", "--memory.sequence-length", "10",
    "--memory.hidden", "16", "--ppo.total-timesteps", "64", "--ppo.num-envs", "4", "--ppo.n-steps", "8",
    "--ppo.batch-size", "32", "--ppo.validate-episodes", "2", "--fidelity.episodes", "2", "--fidelity.dreams", "4",
    "--evaluate.episodes", "2", "--workers", "1",
]  # fmt: skip


def test_the_tutorial_at_a_small_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    run = tmp_path / "run"
    assert main(["run", "--env", "examples.paddle:Paddle-v0", "--run", str(run), *SMALL]) == 0
    folder = RunFolder(run)
    assert folder.preview.exists() and folder.report.exists()
    world = load_world(folder.best)
    assert world.task.title == "Paddle-v0" and world.config.frame_skip == 1
    assert world.reward_scale == 1  # of each catch
    env = gym.make("WMLatent-v0", world=str(folder.best))
    action, _ = load_policy(folder.best).predict(env.reset(seed=0)[0])
    assert env.action_space.contains(action)
    before = folder.results.read_bytes()
    assert main(["run", "--run", str(run), *SMALL]) == 0  # the run knows its environment
    assert folder.results.read_bytes() == before


def test_a_run_that_learns_nothing_ends_early_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(budget, "measure", lambda run, task: SPEEDS)
    run = RunFolder(tmp_path / "run")
    words = ["--minutes", "1", "--collect.frames", "200", "--collect.part-frames", "100", "--workers", "1"]
    assert main(["run", "--env", "ToyDull-v0", "--run", str(run.path), *words]) != 0
    sentence = "in 200 frames (4 episodes) of play every step paid 0, and no episode ended"
    assert sentence in capsys.readouterr().err and f"The run ended early: {sentence}." in run.report.read_text()
    assert not run.round(0).vision.exists()


@pytest.mark.slow
def test_the_recipe_at_a_tiny_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that a run with minutes decides, on a real game; what it learns in so short a time is open."""
    monkeypatch.chdir(ROOT)
    run = RunFolder(tmp_path / "run")
    words = ["run", "--env", "examples.paddle:Paddle-v0", "--minutes", "4", "--rounds", "1", "--run", str(run.path)]
    ended = main(words)
    choices = read_result(Choices, run.choices)
    assert choices.verdict and choices.verdict in run.report.read_text()
    assert choices.values["round 0/collect"]["frames"] >= 1_000
    if ended == 0:
        before = run.results.read_bytes(), run.choices.read_bytes()
        assert main(words) == 0 and (run.results.read_bytes(), run.choices.read_bytes()) == before


def test_a_store_of_another_environment_is_refused(tmp_path: Path) -> None:
    options = {"frames": 100, "part_frames": 100, "workers": 1}
    collect.main(collect.Command.flat(run=tmp_path, env="ToyLight-v0", **options))
    with pytest.raises(InvalidOption, match="'fault': 'none'"):
        collect.main(collect.Command.flat(run=tmp_path, env="ToyLight-v0", env_kwargs='{"fault": "none"}', **options))
    with pytest.raises(InvalidOption, match="JSON"):
        collect.main(collect.Command.flat(run=tmp_path, env="ToyLight-v0", env_kwargs="frameskip=4"))
    with pytest.raises(InvalidOption, match="--env"):
        collect.main(collect.Command.flat(run=tmp_path, tick_limit=4))
    assert len(RolloutStore(tmp_path / "rollouts").parts) == 1
