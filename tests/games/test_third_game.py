"""A game that no file knows: everything else works from its class and its `Task` alone."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import wm_envs
from tests.helpers import TINY, fresh_process, tiny_model
from training.data.episode_store import RolloutStore
from training.stages import collect, doctor, fidelity
from wm_envs.envs.real import RealEnv
from wm_envs.errors import InvalidOption, MissingPackage, Unsound
from wm_envs.games.base import FRAME_SHAPE, Actions, Array, Frame, RandomPlay, Rewards, Task, Tick, Timing
from wm_envs.games.registry import TASKS
from wm_envs.models.controller import ControllerConfig
from wm_envs.worlds.bundle import save_controller, save_world


class ToyGame:
    """A light that moves sideways; the reward is its place, and the game ends at an edge or after `length` ticks."""

    def __init__(self, length: float = 40) -> None:
        self.finished, self.length = False, length

    def reset(self, seed: int) -> Frame:
        self.finished, self.ticks = False, 0
        self.place = int(np.random.default_rng(seed).integers(24, 40))
        return self._frame()

    def advance(self, action: Array, ticks: int) -> Tick:
        total = 0.0
        for played in range(1, ticks + 1):
            self.place, self.ticks = self.place + int(action[0]), self.ticks + 1
            total += self.place / 64
            self.finished = self.ticks >= self.length
            if self.finished or not 0 <= self.place < 64:
                return Tick(None, total, True, played)
        return Tick(self._frame(), total, False, ticks)

    def close(self) -> None:
        pass

    def _frame(self) -> Frame:
        frame = np.zeros(FRAME_SHAPE, np.uint8)
        frame[:, self.place] = 255
        return frame


TOY = Task(
    name="toy",
    title="A toy",
    game=f"{__name__}:ToyGame",
    dream_id="WMDreamToy-v0",
    real_id="WMToy-v0",
    own_envs={"Toy-v0": {"entry_point": f"{__name__}:ToyGame"}},
    settings={"length": (1, 1000)},
    actions=Actions(
        low=(-1.0, -1.0),
        high=(1.0, 1.0),
        discrete=((0.0, 0.0), (1.0, 0.0), (-1.0, 0.0)),
        to_game=lambda action: np.round(action).astype(np.float32),
        of_keys=lambda right, up: (float(right), float(up)),
    ),
    rewards=Rewards(survival=False, scale=0.5),
    random_play=RandomPlay(holds=((1, 4), (2, 8)), idle=(0,)),
    timing=Timing(tick_limit=80, ticks_per_second=10),
)
MEMORY = dataclasses.replace(TINY.memory, action=TOY.actions.size)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Task]:
    """The toy in the registry of games and in that of Gymnasium."""
    monkeypatch.setitem(TASKS, "toy", TOY)
    for name in (TOY.dream_id, TOY.real_id, *TOY.own_envs):
        monkeypatch.delitem(gym.registry, name, raising=False)
    wm_envs.register_envs(TOY)
    yield TOY
    for name in (TOY.dream_id, TOY.real_id, *TOY.own_envs):
        gym.registry.pop(name)


def make_world(folder: Path, task: Task) -> str:
    """A random world of the toy with one controller."""
    config = dataclasses.replace(TINY, task="toy", memory=dataclasses.replace(MEMORY, reward=not task.rewards.survival))
    save_world(folder, tiny_model(config=config))
    policy = ControllerConfig(4, 8, 2, "zh")
    save_controller(folder, "controller", policy, torch.ones(policy.parameters))
    return str(folder)


def play(env: Any, steps: int = 5) -> list[float]:
    """Rewards of the first steps of an episode, to the right."""
    observation, _ = env.reset(seed=3)
    rewards = []
    for _ in range(steps):
        observation, reward, terminated, truncated, _ = env.step(np.array([1.0, 0.0], np.float32))
        assert observation in env.observation_space
        rewards.append(reward)
        if terminated or truncated:
            break
    env.close()
    return rewards


def test_its_dream(toy: Task, tmp_path: Path) -> None:
    world = make_world(tmp_path / "world", toy)
    with pytest.raises(Exception, match="toy"):
        gym.make("WMDreamToy-v0")  # no world of this name is shipped
    assert play(gym.make("WMDreamToy-v0", world=world)) == play(gym.make("WMDream-v0", world=world))
    assert "Toy-v0" in gym.registry


def test_its_real_game(toy: Task, tmp_path: Path) -> None:
    world, game = make_world(tmp_path / "world", toy), ToyGame()
    rewards = play(RealEnv(world))
    game.reset(3)
    assert rewards == pytest.approx([game.advance(np.array([1.0, 0.0]), TINY.frame_skip).reward for _ in rewards])
    assert play(gym.make("WMToy-v0", world=world)) == rewards
    assert len(play(RealEnv(world, length=1))) == 1
    with pytest.raises(InvalidOption, match="renderer"):
        RealEnv(world, renderer="fast")


def test_the_surprise_of_a_step_is_that_of_ms_prediction(toy: Task, tmp_path: Path) -> None:
    env = RealEnv(make_world(tmp_path / "world", toy))
    env.reset(seed=3)
    assert env.surprise == 0
    for right in (1.0, 0.0):
        before, action = env.state, np.array([right, 0.0], np.float32)
        env.step(action)
        prediction, _ = env.world.predict(before, torch.from_numpy(action[None]))
        assert env.surprise == pytest.approx(float(env.world.surprise(prediction, env.state.latents)))
    env.reset(seed=3)
    assert env.surprise == 0


@pytest.mark.parametrize("survival", [False, True])
def test_random_play_is_recorded(toy: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survival: bool) -> None:
    monkeypatch.setitem(TASKS, "toy", dataclasses.replace(toy, rewards=Rewards(survival=survival)))
    options = {"task": "toy", "frames": 200, "part_frames": 200, "workers": 1}
    assert collect.main(collect.Command.flat(run=tmp_path, **options)).recorded >= 200
    (part,) = RolloutStore(tmp_path / "rollouts", "toy").parts
    assert part.actions.shape[1] == 2 and part.lengths.max() <= 40
    assert (part.rewards is None) == survival


@pytest.mark.parametrize(("survival", "measure"), [(False, "relative_error"), (True, "log_ratio")])
def test_fidelity(toy: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survival: bool, measure: str) -> None:
    monkeypatch.setitem(TASKS, "toy", task := dataclasses.replace(toy, rewards=Rewards(survival=survival)))
    world = make_world(tmp_path / "world", task)
    report = fidelity.main(fidelity.Command.flat(world=world, episodes=2, dreams=24, workers=1))
    assert np.isfinite(report.distances[measure]) and -1 <= report.spearman <= 1
    assert len(report.policies) == len(TOY.actions.discrete) + 4 + len(TOY.random_play.holds) + 1


def test_the_doctor(toy: Task, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = make_world(tmp_path / "world", toy)
    with pytest.raises(Unsound, match=": V"):  # four latent dimensions are too few
        doctor.main(doctor.Command.flat(world=world, episodes=2, workers=1))
    said = capsys.readouterr().out
    assert "relative error" in said and "where it moves" in said and "against scripts" in said


def test_the_doctor_plays_no_game_that_is_not_installed(
    toy: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = dataclasses.replace(toy, extra="toys", requires=("no_such_module",), game="no_such_module.toy:Game")
    monkeypatch.setitem(TASKS, "toy", missing)
    world = make_world(tmp_path / "world", missing)
    with pytest.raises(Unsound):
        doctor.main(doctor.Command.flat(world=world, episodes=2, workers=1))
    said = capsys.readouterr().out
    assert "pip install 'wm-envs[toys]'" in said and "relative error" not in said
    with pytest.raises(MissingPackage, match=r"pip install 'wm-envs\[toys\]'"):
        RealEnv(world)


def test_an_import_error_of_another_package_is_not_hidden() -> None:
    broken = dataclasses.replace(TOY, extra="toys", requires=("toys",), game="no_such_module:Game")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        broken.open()


@pytest.mark.parametrize("name", TASKS)
def test_a_shipped_game_that_is_not_installed_names_its_extra(name: str) -> None:
    task = TASKS[name]
    code = f"""
import sys
sys.modules |= dict.fromkeys({task.requires!r})
from wm_envs.errors import MissingPackage
from wm_envs.games.registry import TASKS
try:
    TASKS[{name!r}].open()
except MissingPackage as error:
    print(error.fix)
"""
    assert fresh_process(code) == f"pip install 'wm-envs[{task.extra}]'\n"
