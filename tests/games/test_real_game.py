"""The real game through V and M, what it leaves behind (nothing), and the whole way from frames to a score."""

import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from tests.helpers import ROOT, evolve_options, fresh_process, memory_options, wait_for

pytest.importorskip("vizdoom")

from training.acting import rollout as episodes
from training.data.episode_store import PARTS_A_ROUND, RolloutStore
from training.stages import collect, evaluate, evolve, memory, vision
from wm_envs.envs.real import RealEnv, RealVectorEnv
from wm_envs.games.take_cover import engine_cleanup
from wm_envs.games.take_cover.game import TakeCoverGame
from wm_envs.games.take_cover.task import TAKE_COVER

NOTHING = np.zeros(1, np.float32)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Games of this test and of its children keep their scratch folders here, apart from all others."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture(autouse=True)
def no_game_is_left() -> Iterator[None]:
    yield
    assert not engine_cleanup.engines_of(os.getpid()), "a game of this very process is left"


def test_gymnasiums_checker_is_content(tiny_world: Path) -> None:
    env = gym.make("WMTakeCover-v0", world=str(tiny_world))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped, skip_render_check=True)
    env.close()
    env.close()


@pytest.mark.parametrize("observation", ["zch", "pixels"])
@pytest.mark.parametrize("actions", ["continuous", "discrete"])
def test_spaces_are_the_dreams(tiny_world: Path, observation: str, actions: str) -> None:
    kwargs = {"world": str(tiny_world), "observation": observation, "actions": actions}
    real, dream = gym.make("WMTakeCover-v0", **kwargs), gym.make("WMDream-v0", **kwargs)
    assert real.observation_space == dream.observation_space and real.action_space == dream.action_space
    real.close()


PLAY = """
import hashlib
import numpy as np
from wm_envs.envs.real import RealEnv
env = RealEnv({world!r}, render_mode="rgb_array")
for seed in (11, 11, 12):
    digest = hashlib.sha256(env.reset(seed=seed)[0].tobytes() + env.render().tobytes())
    for step in range(12):
        observation, reward, *_ = env.step(np.array([(-1.0, 0.0, 1.0)[step % 3]], np.float32))
        digest.update(observation.tobytes() + env.render().tobytes() + bytes([int(reward)]))
    print(digest.hexdigest())
env.close()
"""


def test_a_seed_names_the_episode(tiny_world: Path) -> None:
    first, again, other = fresh_process(PLAY.format(world=str(tiny_world))).split()
    assert first == again != other
    assert fresh_process(PLAY.format(world=str(tiny_world))).split() == [first, again, other], "in another process"


def test_the_reward_is_the_ticks_survived(tiny_world: Path) -> None:
    env, bare = RealEnv(str(tiny_world)), TakeCoverGame()
    for seed in (1, 2):
        env.reset(seed=seed)
        total, over = 0.0, False
        while not over:
            _, reward, terminated, truncated, _ = env.step(NOTHING)
            total, over = total + reward, terminated or truncated
        bare.reset(seed)
        ticks, ended = 0, False
        while not ended:
            tick = bare.advance(NOTHING, 1)
            ticks, ended = ticks + tick.ticks, tick.terminated
            assert (tick.frame is None) == ended
        assert terminated and total == pytest.approx(ticks, abs=1)
    env.close()
    bare.close()


def test_lanes_are_episodes_of_their_seeds(tiny_world: Path) -> None:
    vector, single = RealVectorEnv(2, world=str(tiny_world)), RealEnv(str(tiny_world))
    observations = [vector.reset(seed=21)[0]]
    observations += [vector.step(np.ones((2, 1), np.float32))[0] for _ in range(5)]
    for lane in range(2):
        alone = [single.reset(seed=21 + lane)[0]] + [single.step(np.ones(1, np.float32))[0] for _ in range(5)]
        np.testing.assert_allclose([o[lane] for o in observations], alone, atol=1e-3)
    vector.close()
    single.close()


CHILD = """
import json, os, sys, time
from wm_envs.games.take_cover import engine_cleanup as cleanup
from wm_envs.games.take_cover.game import TakeCoverGame
games = [TakeCoverGame() for _ in range(2)]
games[0].reset(1)
engines = sorted(cleanup.engines_of(os.getpid()))
print(json.dumps([[pid, cleanup.start_time(pid), cleanup.instance_id(pid)] for pid in engines]), flush=True)
"""
ENDINGS = {
    "close": "[game.close() for game in games]; [game.close() for game in games]",
    "nothing": "",
    "exception": "raise RuntimeError('on purpose')",
    "exit": "sys.exit(3)",
    "wait": "time.sleep(600)",
}


def child(ending: str) -> tuple[subprocess.Popen, list[list[Any]]]:
    """A process that opens two games, and its engines as [pid, start time, instance]."""
    command = [sys.executable, "-c", CHILD + ENDINGS[ending]]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    line = process.stdout.readline()
    engines = json.loads(line) if line else []
    assert len(engines) == 2 and all(instance for *_, instance in engines)
    return process, engines


def left_behind(engines: list[list[Any]]) -> list[str]:
    """Which of these engines run, and their shared memory."""
    found = []
    for pid, start, instance in engines:
        if engine_cleanup.start_time(pid) == start:
            found.append(f"engine {pid}")
        found += [str(path) for path in Path("/dev/shm").glob(f"ViZDoom*{instance}")]
    return found


def assert_clean(engines: list[list[Any]], scratch: Path) -> None:
    wait_for(lambda: not left_behind(engines), 10)  # an engine that was told to end may take a moment
    assert not list(scratch.glob(engine_cleanup.SCRATCH_PREFIX + "*"))


@pytest.mark.parametrize("ending", ["close", "nothing", "exception", "exit"])
def test_nothing_is_left_when_a_process_ends(scratch: Path, ending: str) -> None:
    process, engines = child(ending)
    process.wait(60)
    assert process.returncode == {"exception": 1, "exit": 3}.get(ending, 0)
    assert_clean(engines, scratch)


def test_nothing_is_left_after_sigterm(scratch: Path) -> None:
    process, engines = child("wait")
    assert left_behind(engines)
    process.terminate()
    assert process.wait(60) == -signal.SIGTERM
    assert_clean(engines, scratch)


def test_what_a_killed_process_left_is_swept_by_the_next_game(scratch: Path) -> None:
    living = TakeCoverGame()
    living.reset(3)
    process, engines = child("wait")
    process.kill()
    process.wait(60)
    assert len(list(scratch.iterdir())) == 3
    following = TakeCoverGame()
    wait_for(lambda: not left_behind(engines), 5)
    assert {path.name for path in scratch.iterdir()} == {living.scratch.name, following.scratch.name}
    assert living.advance(NOTHING, 2).ticks == 2, "a game whose owner lives is never touched"
    living.close()
    following.close()
    assert not list(scratch.iterdir())


def test_sweep_leaves_what_is_not_ours(scratch: Path) -> None:
    mine = f"{os.getpid()}-{engine_cleanup.start_time(os.getpid())}"
    for name in ("foreign", f"{mine}-living", "999999999-0-unknown", "1-x-y", "-1-1-y", "999999999-1-a.b"):
        (scratch / f"{engine_cleanup.SCRATCH_PREFIX}{name}").mkdir()
    dead = scratch / f"{engine_cleanup.SCRATCH_PREFIX}999999999-1-dead"
    dead.symlink_to(scratch)
    assert engine_cleanup.sweep() == 0 and len(list(scratch.iterdir())) == 7
    for text in ("", "../../etc", "*", "\0"):
        dead.unlink(missing_ok=True)
        dead.mkdir()
        (dead / "instance").write_text(text)
        assert engine_cleanup.sweep() == 1 and not dead.exists() and len(list(scratch.iterdir())) == 6


def test_an_error_in_an_env_leaves_nothing(tiny_world: Path) -> None:
    env = RealEnv(str(tiny_world))
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action"):
        env.step("left")
    assert len(engine_cleanup.engines_of(os.getpid())) == 1
    del env
    gc.collect()
    assert not engine_cleanup.engines_of(os.getpid())


def test_the_working_directory_stays_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    game = TakeCoverGame()
    game.reset(0)
    game.close()
    assert Path.cwd() == tmp_path and not list(tmp_path.iterdir())


def test_from_frames_to_a_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_vision: None) -> None:
    """collect -> vision -> memory -> evolve -> evaluate; whatever is done is not done again."""
    run = tmp_path / "run"
    options = collect.Command.flat(run=run, frames=1200, part_frames=600, workers=1)
    first = collect.main(options)
    assert first.parts == 2 and first.recorded >= 1200
    assert collect.main(options).recorded == 0, "the parts are there"
    store = RolloutStore(run / "rollouts", "takecover")
    assert store.size == first.recorded
    for part in store.parts:
        frames = part.read(0, part.size)
        assert frames.mean() > 5 and set(np.unique(part.actions)) <= {-1.0, 0.0, 1.0}
        assert (part.lengths <= TAKE_COVER.timing.tick_limit).all() and len(part.terminated) == len(part.lengths)

    seen = vision.main(vision.Command.flat(run=run, latent=4, batches=4, batch_size=16))
    assert seen.error > 0
    learnt = memory.main(memory_options(run, batch_size=8, sequence_length=12, steps=6 * 96))
    assert np.isfinite(learnt.nll)
    bred = evolve.main(evolve_options(run, generations=2, validate_episodes=2, workers=1))
    assert bred.generations == 2 and bred.validation and bred.validation.episodes == 2

    monkeypatch.setattr(episodes, "TILE", 2)  # two jobs, so that there is work for two processes
    scores = []
    for workers in (1, 2):
        file = tmp_path / f"scores-{workers}.json"
        world = str(run / "round-0/world")
        result = evaluate.main(
            evaluate.Command.flat(world=world, controller="controller", episodes=4, workers=workers, scores=str(file))
        )
        scores.append(json.loads(file.read_text())["scores"])
        assert result.episodes == 4 and result.mean == pytest.approx(np.mean(list(scores[-1].values())))
    assert scores[0] == scores[1] and list(scores[0]) == [str(200_000 + i) for i in range(4)]
    assert all(30 < score <= TAKE_COVER.timing.tick_limit for score in scores[0].values())


def test_controllers_own_play_is_recorded(own_world: Path, tiny_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In turns, also when one of them sees through another world."""
    run, played = own_world.parent.parent, []
    record = collect.controller_episodes
    monkeypatch.setattr(collect, "TILE", 2)
    monkeypatch.setattr(collect, "controller_episodes", lambda *how: played.append(how[:2]) or record(*how))
    players = ("controller", f"{tiny_world}:controller")
    options = {"frames": 500, "part_frames": 500, "controllers": players, "round": 1, "workers": 1}
    collect.main(collect.Command.flat(run=run, **options))
    (part,) = RolloutStore(run / "rollouts", "takecover").parts
    assert part.index == PARTS_A_ROUND and len(part.lengths) == len(played) >= 2
    assert {Path(folder) for folder, _ in played} == {own_world, tiny_world}
    assert part.attributes["behaviour"] == "controller,controller" and part.attributes["round"] == 1
    assert part.frames.shape[0] == part.lengths.sum() == part.size


@pytest.mark.parametrize("players", [(), ("takecover:controller",)], ids=["random play", "own play"])
def test_objects_are_recorded_where_they_are(
    tmp_path: Path, players: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect, "TILE", 1)
    collect.main(collect.Command.flat(run=tmp_path, frames=200, objects=True, workers=1, controllers=players))
    (part,) = RolloutStore(tmp_path / "rollouts").parts
    frames, objects = part.read(0, part.size).astype(int), part.read_objects(0, part.size)
    assert objects.shape == (part.size, 2, 64, 64)
    assert objects[:, 0].any(axis=(1, 2)).mean() > 0.9, "imps are in sight from the first tick"
    bright = frames[..., 0].max(axis=(1, 2)) > 230  # a fireball
    assert bright.any()
    assert objects[bright, 1].any(axis=(1, 2)).mean() > 0.9
