"""PPO in the dream and in the game: it resumes, ships its policy as a controller, and goes on from one."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from stable_baselines3 import PPO

from tests.helpers import ppo_options
from training.infra.progress import Progress
from training.infra.records import to_json
from training.infra.run_folder import RunFolder
from training.judging.scoring import Card, Score
from training.learning.clip_reward import ClipReward
from training.learning.policy_network import ensemble, parameters_of, start_from
from training.stages import ppo
from wm_envs.errors import Diverged, InvalidOption, OptionsDiffer, UnknownName
from wm_envs.models.controller import ControllerConfig, act
from wm_envs.sb3 import make_vec_env
from wm_envs.worlds.bundle import load_world, read_controller

IN_THE_GAME = {"train_in": "game", "num_envs": 2, "n_steps": 8, "batch_size": 16}


def test_ppo_makes_a_controller_of_the_bundle(own_world: Path, tmp_path: Path) -> None:
    result = ppo.main(ppo_options(tmp_path))
    config, parameters = read_controller(tmp_path / "round-0/world", "ppo")
    assert config.hidden_sizes == (5,) and config.choices == (0.0, 1.0, -1.0)
    assert result.dream and result.dream.episodes == 256
    assert read_controller(tmp_path / "round-0/world")[0].hidden_sizes == ()  # the one that was there
    assert len((tmp_path / "round-0" / "logs" / "ppo-ppo.csv").read_text().splitlines()) == 3
    assert ppo.main(ppo_options(tmp_path)) == result  # done already
    with pytest.raises(OptionsDiffer, match="gamma"):
        ppo.main(ppo_options(tmp_path, gamma=0.5))
    card = json.loads((tmp_path / "round-0/world" / "config.json").read_text())["controllers"]["ppo"]["card"]
    assert to_json(result) == card | {"curve": []}, "of validations in the game, of which there are none"
    assert torch.isfinite(parameters).all()


def test_a_stopped_ppo_comes_to_the_same_end(tiny_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, judged = tmp_path / "run", ppo.Training.evaluate
    best = run / "round-0/ppo/ppo/best.json"
    shutil.copytree(tiny_world, run / "round-0/world")
    ppo.main(ppo_options(run))
    run.rename(tmp_path / "whole")
    shutil.copytree(tiny_world, run / "round-0/world")
    monkeypatch.setattr(ppo.Training, "evaluate", lambda *given: 1 / 0 if best.exists() else judged(*given))
    with pytest.raises(ZeroDivisionError):
        ppo.main(ppo_options(run))
    monkeypatch.undo()
    ppo.main(ppo_options(run))
    for name in ("round-0/ppo/ppo/policy.safetensors", "round-0/world/controllers.safetensors"):
        found, expected = load_file(run / name), load_file(tmp_path / "whole" / name)
        assert found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in found), name
    assert best.read_bytes() == (tmp_path / "whole/round-0/ppo/ppo/best.json").read_bytes()


def test_a_refused_option_is_not_remembered(own_world: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="actions"):
        ppo.main(ppo_options(tmp_path, actions="fine"))  # CarRacing has those
    ppo.main(ppo_options(tmp_path))


def test_a_policy_that_diverged_is_not_kept(own_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, trained = PPO.train, 0

    def poisoned(learner: PPO) -> None:
        nonlocal trained
        train(learner)
        trained += 1
        if trained == 3:  # after the first validation
            learner.policy.action_net.bias.data[0] = float("nan")

    monkeypatch.setattr(PPO, "train", poisoned)
    names = ("ppo/ppo/policy.safetensors", "ppo/ppo/best.json", "world/config.json")
    kept = [tmp_path / "round-0" / name for name in names]
    seen: list[list[bytes]] = []
    log = Progress.log
    monkeypatch.setattr(Progress, "log", lambda *given: (seen.append([p.read_bytes() for p in kept]), log(*given)))
    with pytest.raises(Diverged, match="finite weights"):
        ppo.main(ppo_options(tmp_path))
    assert len(seen) == 1 and [path.read_bytes() for path in kept] == seen[0]


@pytest.mark.parametrize("hidden_sizes", [(), (5,), (6, 4)])
def test_the_controller_is_the_policy(own_world: Path, tmp_path: Path, hidden_sizes: tuple[int, ...]) -> None:
    training = ppo.Training(RunFolder(tmp_path).round(0), ppo_options(tmp_path, hidden_sizes=hidden_sizes))
    env = make_vec_env("WMDream-v0", 8, seed=0, world=str(tmp_path / "round-0/world"), actions="discrete")
    layers = {"net_arch": {"pi": list(hidden_sizes), "vf": [3]}}
    learner = PPO("MlpPolicy", env, policy_kwargs=layers, seed=1, device="cpu")
    with torch.no_grad():
        learner.policy.action_net.weight.mul_(100)
    config, parameters = training.controller, parameters_of(learner)
    features = env.reset()
    wanted, _ = learner.predict(features, deterministic=True)
    done = act(config, parameters, torch.from_numpy(features))
    np.testing.assert_array_equal(done.numpy(), np.array(training.world.task.actions.discrete, np.float32)[wanted])
    assert len(set(wanted.tolist())) > 1


@pytest.mark.parametrize("hidden_sizes", [(), (5,), (6, 4)])
def test_a_committee_scores_as_its_members_on_average(hidden_sizes: tuple[int, ...]) -> None:
    config = ControllerConfig(4, 8, 1, "zh", True, hidden_sizes)
    members = [(config, 0.1 * torch.randn(config.parameters)) for _ in range(3)]  # far from tanh's ends
    merged, parameters = ensemble(members)
    features = torch.randn(50, 12)
    mean = torch.stack([torch.atanh(act(config, one, features)) for _, one in members]).mean(0)
    torch.testing.assert_close(torch.atanh(act(merged, parameters, features)), mean, atol=1e-4, rtol=1e-3)


def test_members_learn_and_decide_together(own_world: Path, tmp_path: Path) -> None:
    result = ppo.main(ppo_options(tmp_path, total_timesteps=128, ensemble_size=2))
    config, parameters = read_controller(tmp_path / "round-0/world", "ppo")
    single = [read_controller(tmp_path / "round-0/world", name) for name in ("ppo-1", "ppo-2")]
    assert config.hidden_sizes == (10,) and not torch.equal(single[0][1], single[1][1])
    assert torch.equal(ensemble(single)[1], parameters) and result.dream and result.dream.episodes == 256


def test_ppo_goes_on_from_a_controller(own_world: Path, tmp_path: Path) -> None:
    ppo.main(ppo_options(tmp_path))
    env = make_vec_env("WMDream-v0", 8, seed=0, world=str(tmp_path / "round-0/world"), actions="discrete")
    learner = PPO("MlpPolicy", env, policy_kwargs={"net_arch": {"pi": [5], "vf": [3]}}, device="cpu")
    known = read_controller(tmp_path / "round-0/world", "ppo")
    start_from(learner, *known, ppo.Training(RunFolder(tmp_path).round(0), ppo_options(tmp_path)).controller)
    assert torch.equal(parameters_of(learner), known[1])
    ppo.main(ppo_options(tmp_path, name="second", start="ppo"))
    with pytest.raises(InvalidOption, match="start"):
        ppo.main(ppo_options(tmp_path, name="third", start="ppo", hidden_sizes=(6,)))


def test_ppo_continues_the_controller_of_an_earlier_round(own_world: Path, tmp_path: Path) -> None:
    ppo.main(ppo_options(tmp_path))
    shutil.copytree(tmp_path / "round-0/world", tmp_path / "round-1/world")
    given = dict(round=1, name="next", start="ppo", start_round=0)
    still = ppo_options(tmp_path, **given, total_timesteps=128, learning_rate=1e-9)
    ppo.main(still)
    policies = [load_file(tmp_path / name) for name in ("round-0/ppo/ppo/policy.safetensors",
                                                        "round-1/ppo/next/policy.safetensors")]  # fmt: skip
    values = [name for name in policies[0] if "model/" in name and "value_net" in name]
    assert values and all(torch.allclose(policies[0][name], policies[1][name], atol=1e-6) for name in values)
    count, before = (float(policy["carried/returns"][2]) for policy in reversed(policies))
    assert count == before + 128, "the statistics of the returns go on"
    history = json.loads((tmp_path / "round-1/ppo/next/history.json").read_text())["validations"]
    assert [entry["updates"] for entry in history] == [0, 1], "the start is validated, too"
    start, kept = (read_controller(tmp_path / name, who)[1] for name, who in (("round-0/world", "ppo"),
                                                                              ("round-1/world", "next")))  # fmt: skip
    assert torch.allclose(start, kept, atol=1e-6)
    with pytest.raises(UnknownName, match="start"):
        ppo.main(ppo_options(tmp_path, **given | {"name": "third", "start": "nobody"}))
    with pytest.raises(InvalidOption, match="start_round"):
        ppo_options(tmp_path, start_round=0)


@pytest.mark.parametrize("best", ["mean", "member"])
def test_validation_chooses_the_temperatures(
    own_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, best: str
) -> None:
    """Each member has its part of the range; a member is kept if it validates better than the mean."""
    ranges: dict[str, tuple[float, float]] = {}

    def judged(training: ppo.Training, config: ControllerConfig, parameters: torch.Tensor) -> Card:
        command = training.command
        ranges[command.name] = command.temperature, command.highest
        score = {"ppo": 9.0 if best == "mean" else 0.9}.get(command.name, command.temperature)
        return Card(validation=Score.of(np.array([score])))

    monkeypatch.setattr(ppo.Training, "evaluate", judged)
    monkeypatch.setattr("training.config.commands.check_game", lambda task: None)
    split = dict(ensemble_size=2, split_temperatures=True, validate_episodes=2, total_timesteps=128)
    result = ppo.main(ppo_options(tmp_path, temperature=0.8, temperature_high=1.2, **split))
    assert ranges == {"ppo-1": (0.8, 1.0), "ppo-2": (1.0, 1.2), "ppo": (0.8, 1.2)}
    config, parameters = read_controller(tmp_path / "round-0/world", "ppo")
    if best == "mean":
        assert result.selection_score == 9.0 and config.hidden_sizes == (10,)
    else:
        expected = read_controller(tmp_path / "round-0/world", "ppo-2")
        assert result.selection_score == 1.0 and config == expected[0] and torch.equal(parameters, expected[1])
    with pytest.raises(InvalidOption, match="split_temperatures"):
        ppo_options(tmp_path, split_temperatures=True)


def test_members_continue_their_own_members(own_world: Path, tmp_path: Path) -> None:
    small = dict(total_timesteps=128, ensemble_size=2, learning_rate=1e-9)
    ppo.main(ppo_options(tmp_path, **small))
    shutil.copytree(tmp_path / "round-0/world", tmp_path / "round-1/world")
    ppo.main(ppo_options(tmp_path, **small, round=1, name="next", start="ppo", start_round=0))
    for name in ("", "-1", "-2"):
        before, after = (read_controller(tmp_path / "round-1/world", f"{who}{name}")[1] for who in ("ppo", "next"))
        assert torch.allclose(before, after, atol=1e-6)


def test_ppo_goes_on_with_finer_actions(own_drive: Path) -> None:
    """Each fine action begins as the nearest of those that the controller chose from."""
    small = ppo_options(own_drive.parent.parent, total_timesteps=128)
    ppo.main(small)
    fine_config = small.config.replace(actions="fine", learning_rate=1e-9)
    ppo.main(small.replace(name="fine", start="ppo", config=fine_config))
    (coarse, before), (fine, after) = (read_controller(own_drive, name) for name in ("ppo", "fine"))
    assert len(fine.choices) == 3 * 28 and fine.hidden_sizes == coarse.hidden_sizes
    assert ppo.controller_config(load_world(own_drive), fine_config.replace(actions="finest")) == fine
    features = torch.randn(50, fine.features)
    there, chosen = torch.tensor(coarse.choices).view(-1, 3), act(fine, after, features)
    expected = act(coarse, before, features)
    assert torch.equal(there[torch.cdist(chosen, there).argmin(1)], expected)


def test_rewards_are_capped_and_nothing_else(tiny_world: Path) -> None:
    plain, capped, uncapped = (make_vec_env("WMDream-v0", 4, seed=7, world=str(tiny_world)) for _ in range(3))
    envs = [plain, ClipReward(capped, 3.0), ClipReward(uncapped, np.inf)]
    first = [env.reset() for env in envs]
    assert np.array_equal(first[0], first[1])
    for _ in range(30):
        first, second, third = (env.step(np.zeros((4, 1), np.float32)) for env in envs)
        np.testing.assert_array_equal(second[1], np.minimum(first[1], 3.0))
        np.testing.assert_array_equal(third[1], first[1])
        for part in (0, 2):
            np.testing.assert_array_equal(second[part], first[part])


def test_ppo_learns_in_the_real_game(tmp_path: Path, own_drive: Path) -> None:
    pytest.importorskip("Box2D")
    result = ppo.main(ppo_options(tmp_path, total_timesteps=32, **IN_THE_GAME))
    assert read_controller(tmp_path / "round-0/world", "ppo")[0].action == 3 and result.dream


def test_a_curious_ppo_keeps_its_last_policy(tmp_path: Path, own_drive: Path) -> None:
    pytest.importorskip("Box2D")
    ppo.main(ppo_options(tmp_path, total_timesteps=64, curious=True, validate_every=1, **IN_THE_GAME))
    last = load_file(tmp_path / "round-0/ppo/ppo/policy.safetensors")["model/action_net.bias"]
    _, parameters = read_controller(tmp_path / "round-0/world", "ppo")
    torch.testing.assert_close(parameters[-len(last) :], last)
    with pytest.raises(InvalidOption, match="curious"):
        ppo.main(ppo_options(tmp_path, curious=True))


def test_ppo_goes_on_from_its_checkpoint(own_world: Path, tmp_path: Path) -> None:
    ppo.main(ppo_options(tmp_path, total_timesteps=256))
    checkpoint = tmp_path / "round-0/ppo/ppo/policy.safetensors"
    before = checkpoint.read_bytes()
    (tmp_path / "round-0/ppo/ppo/options.json").unlink()  # ask for more steps than before
    ppo.main(ppo_options(tmp_path, total_timesteps=512))
    assert checkpoint.read_bytes() != before
