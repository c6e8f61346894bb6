"""Stage 4b, ppo: proximal policy optimisation (Stable-Baselines3) in a batch of dreams, or of real games.

CMA-ES is told one number an episode; PPO learns from every step of every episode. What it makes is a
controller like any other: linear as the paper's C, or with hidden layers of tanh units.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from stable_baselines3 import PPO
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn
from torch import Tensor

from training.evaluation.policies import ControllerPolicy
from training.evaluation.validation import evaluate_policy, selection_key, spread_temperatures
from training.infra.checkpoint import check_finite, load_checkpoint, read_extra_state, save_checkpoint
from training.infra.optim import one_cycle
from training.infra.options import (
    check_run_options,
    check_temperatures,
    count,
    game_settings,
    not_negative,
    plain_name,
    positive,
    read_record,
    stage_option,
)
from training.infra.pool import Workers
from training.infra.progress import Progress
from wm_envs.envs.real import RealVectorEnv
from wm_envs.envs.spaces import one_of
from wm_envs.errors import BrokenStore, InvalidOption
from wm_envs.files import file_lock, write_json
from wm_envs.models.bundle import load_controller, load_world, save_controller
from wm_envs.models.controller import OBSERVATIONS, ControllerConfig
from wm_envs.models.world_model import WorldModel
from wm_envs.sb3 import LatentVecEnv, make_vec_env

IN_THE_GAME: dict[str, Any] = {  # whose steps are dear: few lanes, and more learning from each step
    "env": "real", "num_envs": 16, "n_steps": 128, "batch_size": 512, "n_epochs": 6, "learning_rate": 5e-4,
    "ent_coef": 0.005,
}  # fmt: skip
REAL_SEEDS = 10_000_000  # the real episodes to learn from are beyond, far from those that judge


class ClipReward(VecEnvWrapper):
    """Rewards (B,) of at most `reward_clip` a step (0: as they are).

    A dreamt road has no end: who drives faster finds more of it. The game's has, and its last tile is worth
    as much as any, so there it pays to leave none out, and speed is worth nothing but ticks.
    """

    def __init__(self, env: VecEnv, reward_clip: float) -> None:
        super().__init__(env)
        self.reward_clip = reward_clip or np.inf

    def reset(self) -> VecEnvObs:
        """As the lanes within."""
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """As the lanes within, but for the rewards."""
        observations, rewards, done, infos = self.venv.step_wait()
        return observations, np.minimum(rewards, self.reward_clip), done, infos


@dataclass
class PpoOptions:
    """Learn a controller in RUN/world by PPO; the result joins the bundle's controllers under its name."""

    run: Path = stage_option("runs/takecover", "run folder")
    name: str = stage_option("ppo", "name of the controller, and of RUN/ppo/NAME", True)
    env: str = stage_option("dream", "where to learn: dream or real", True)
    settings: tuple[str, ...] = stage_option((), "of the real game it learns in (CarRacing: off_road_cost=2)", True)
    total_timesteps: int = stage_option(8_000_000, "steps of all episodes together", True)
    num_envs: int = stage_option(512, "episodes at once (real games: 16, say)", True)
    n_steps: int = stage_option(32, "steps of each between two updates (real games: 128, say)", True)
    batch_size: int = stage_option(4096, "steps in a minibatch", True)
    n_epochs: int = stage_option(3, "passes over the steps of an update", True)
    temperature: float = stage_option(1.1, "of the dreams, or the lowest of them", True)
    temperature_high: float = stage_option(1.6, "highest temperature, drawn anew for each update (0: one only)", True)
    observation: str = stage_option("zh", "what C sees: zh, zch or z", True)
    actions: str = stage_option("discrete", "what C chooses from: discrete, or fine where the task has that", True)
    hidden_sizes: tuple[int, ...] = stage_option((64,), "tanh units of C's hidden layers (none: linear)", True)
    learning_rate: float = stage_option(1e-3, "peak of the schedule", True)
    gamma: float = stage_option(0.985, "gamma, a step", True)
    start: str = stage_option("", "name of a controller in the world, with the same units, to go on from", True)
    ent_coef: float = stage_option(0.003, "weight of the policy's entropy", True)
    reward_clip: float = stage_option(0.0, "reward a step beyond which none counts (0: all does); see Capped", True)
    ensemble_size: int = stage_option(1, "policies that learn from seeds of their own and then decide together", True)
    validate_every: int = stage_option(100, "updates between validations in the real game")
    validate_episodes: int = stage_option(48, "real episodes in one validation (0: dreams only)")
    workers: int = stage_option(0, "processes for the real game (0: one a core)")
    ray: str = stage_option("", "do it on a Ray cluster instead: its address, auto, or local to start one here")
    seed: int = stage_option(0, "of the weights and of the dreams", True)


def main(options: PpoOptions) -> dict[str, Any]:
    """Learn for `total_timesteps`, keep the controller that validates best (of each member, when there are several)."""
    for name in ("total_timesteps", "num_envs", "n_steps", "batch_size", "n_epochs", "validate_every", "ensemble_size"):
        count(name, getattr(options, name))
    for name in ("validate_episodes", "workers", "seed"):
        count(name, getattr(options, name), 0)
    check_temperatures(options.temperature, options.temperature_high)
    for name in ("learning_rate", "gamma"):
        positive(name, getattr(options, name))
    for name in ("ent_coef", "reward_clip"):
        not_negative(name, getattr(options, name))
    for width in options.hidden_sizes:
        count("hidden_sizes", width)
    if options.gamma > 1:
        raise InvalidOption("gamma", options.gamma, "at most 1", "give --gamma 0.98, say")
    one_of("observation", options.observation, OBSERVATIONS)
    one_of("env", options.env, ("dream", "real"))
    one_of("actions", options.actions, ("discrete", "fine"))
    plain_name("name", options.name)
    if game_settings(options.settings) and options.env != "real":
        raise InvalidOption("settings", options.settings, "none, since a dream has no settings", "give --env real")
    run = Path(options.run)
    record = run / "ppo" / options.name / "options.json"
    with file_lock(record), check_run_options(record, options):
        return _begin(run, options)


def _begin(run: Path, options: PpoOptions) -> dict[str, Any]:
    world = load_world(run / "world")
    if options.ensemble_size > 1:
        return _decide_together(world, options)
    env = VecNormalize(ClipReward(_lanes(world, options), options.reward_clip), norm_obs=False, gamma=options.gamma)
    learner = PPO(
        "MlpPolicy", env, options.learning_rate, options.n_steps, options.batch_size, options.n_epochs, options.gamma,
        ent_coef=options.ent_coef, policy_kwargs={"net_arch": {"pi": list(options.hidden_sizes), "vf": [128]}},
        seed=options.seed, device="cpu",
    )  # fmt: skip
    if options.start:
        start_from(learner, *load_controller(run / "world", options.start), as_controller(learner, world, options)[0])
    return _learn(learner, env, world, options)


def _lanes(world: WorldModel, options: PpoOptions) -> LatentVecEnv:
    """The dreams, or the real games drawn in the fastest way, to learn in."""
    shared = {"world": str(Path(options.run) / "world"), "observation": options.observation, "actions": options.actions}
    if options.env == "dream":
        return make_vec_env("WMDream-v0", options.num_envs, temperature=options.temperature, **shared)
    renderer = next(reversed(world.task.renderers), None)
    settings = game_settings(options.settings)
    games = RealVectorEnv(
        options.num_envs, renderer=renderer, autoreset_mode=AutoresetMode.DISABLED, **shared, **settings
    )
    return LatentVecEnv(games)


def _learn(learner: PPO, env: VecNormalize, world: WorldModel, options: PpoOptions) -> dict[str, Any]:
    run = Path(options.run)
    path = run / "ppo" / options.name / "policy.safetensors"
    updates = max(1, options.total_timesteps // (options.num_envs * options.n_steps))
    optimizer = learner.policy.optimizer
    if path.exists():
        done, extra_state = load_checkpoint(path, learner.policy, optimizer)
        read_extra_state(path, extra_state, {"returns": (3,)} | _shapes(world, options))
    else:
        done, extra_state = 0, {}
    with Progress(f"ppo-{options.name}", updates, run, "updates") as progress:
        progress.skip(done)
        while done < updates:
            rng = _go_on(learner, env, world, options, done, extra_state)
            until = min(updates, (done // options.validate_every + 1) * options.validate_every)
            for update in range(done, until):
                if options.env == "dream":
                    highest = options.temperature_high or options.temperature
                    env.set_attr("temperature", rng.uniform(options.temperature, highest))
                rate = one_cycle(update / updates, options.learning_rate, warm=0.02)
                learner.lr_schedule = lambda _, rate=rate: rate
                try:
                    learner.learn(options.num_envs * options.n_steps, reset_num_timesteps=False)
                finally:  # torch says something else of weights that are not finite, or nothing
                    check_finite(learner.policy)
                progress.update(1)
            done = until
            metrics = _validate(learner, world, options, done)
            extra_state = _extra_state(env, world, options)
            save_checkpoint(path, learner.policy, optimizer, done, extra_state)
            progress.log(done, metrics)
    return _keep_best(world, options)


def _go_on(
    learner: PPO, env: VecNormalize, world: WorldModel, options: PpoOptions, done: int, extra_state: dict[str, Tensor]
) -> np.random.Generator:
    """Begin where the checkpoint of `done` updates left off; returns the generator that the temperatures come from.

    Everything that follows is drawn from (seed, done), and dreams go on from the states they were in, so a run
    that was stopped comes to the same end. A real game cannot be put back: its lanes begin new episodes.
    """
    rng = np.random.default_rng((options.seed, done))
    set_random_seed(int(rng.integers(2**31)))
    env.seed(int(rng.integers(REAL_SEEDS, 2**31)))
    if extra_state:
        env.ret_rms.mean, env.ret_rms.var, env.ret_rms.count = (float(value) for value in extra_state["returns"])
    if "state/ticks" in extra_state:
        found = {name.removeprefix("state/"): value for name, value in extra_state.items()}
        env.set_options({"state": world.state_from_tensors(found)})
    learner.set_env(env)
    return rng


def _shapes(world: WorldModel, options: PpoOptions) -> dict[str, tuple[int, ...]]:
    """What a checkpoint carries of the dreams."""
    if options.env == "real":
        return {}
    return {f"state/{name}": shape for name, shape in world.state_shapes(options.num_envs).items()}


def _extra_state(env: VecNormalize, world: WorldModel, options: PpoOptions) -> dict[str, Tensor]:
    """What `_go_on` needs beside the weights."""
    extra_state = {"returns": torch.tensor([env.ret_rms.mean, env.ret_rms.var, env.ret_rms.count], dtype=torch.float64)}
    if options.env == "dream":
        tensors = world.state_to_tensors(env.get_attr("state", 0)[0])
        extra_state |= {f"state/{name}": value for name, value in tensors.items()}
    return extra_state


def _keep_best(world: WorldModel, options: PpoOptions) -> dict[str, Any]:
    """Put the best policy in the bundle, which may have been made again; returns its card and the learning curve."""
    best = _best(options)
    if best is None:
        raise BrokenStore(
            "best policy", f"none in {Path(options.run) / 'ppo' / options.name}", "best.json beside policy.safetensors",
            "give another --name to start again",
        )  # fmt: skip
    parameters = torch.tensor(best["parameters"])
    save_controller(Path(options.run) / "world", options.name, kind_of(world, options), parameters, best["card"])
    return best["card"] | {"curve": _curve(options)}


def _best(options: PpoOptions) -> dict[str, Any] | None:
    """Card and parameters of the best policy so far, kept beside the checkpoint."""
    path = Path(options.run) / "ppo" / options.name / "best.json"
    return read_record(path) if path.exists() else None


def _decide_together(world: WorldModel, options: PpoOptions) -> dict[str, Any]:
    """Members learn one after the other; what each gets wrong of the dream in its own way, the others outvote."""
    folder = Path(options.run) / "world"
    names = [f"{options.name}-{number}" for number in range(1, options.ensemble_size + 1)]
    for number, name in enumerate(names):
        main(dataclasses.replace(options, name=name, ensemble_size=1, seed=options.seed + number))
    config, parameters = ensemble([load_controller(folder, name) for name in names])
    card = _evaluate(config, parameters, world, options)
    save_controller(folder, options.name, config, parameters, card)
    return card


def ensemble(ensemble_size: list[tuple[ControllerConfig, Tensor]]) -> tuple[ControllerConfig, Tensor]:
    """One controller whose scores are the mean of its members' (all of one config, with a bias)."""
    config, count = ensemble_size[0][0], len(ensemble_size)
    assert config.bias and all(other == config for other, _ in ensemble_size)
    if not config.hidden_sizes:
        return config, torch.stack([parameters for _, parameters in ensemble_size]).mean(0)
    parts, at, last = [], 0, len(config.layers) - 1
    for number, (inputs, outputs) in enumerate(config.layers):
        size = inputs * outputs
        weights = [parameters[at : at + size].view(inputs, outputs) for _, parameters in ensemble_size]
        biases = [parameters[at + size : at + size + outputs] for _, parameters in ensemble_size]
        if number == 0:  # all see the same features
            weight, bias = torch.cat(weights, dim=1), torch.cat(biases)
        elif number == last:
            weight, bias = torch.cat(weights) / count, torch.stack(biases).mean(0)
        else:
            weight, bias = torch.block_diag(*weights), torch.cat(biases)
        parts += [weight.flatten(), bias]
        at += size + outputs
    return dataclasses.replace(config, hidden_sizes=tuple(width * count for width in config.hidden_sizes)), torch.cat(
        parts
    )


def _validate(learner: PPO, world: WorldModel, options: PpoOptions, done: int) -> dict[str, float]:
    """Judge the policy of `done` updates, and keep it when none before was better."""
    folder = Path(options.run) / "ppo" / options.name
    config, parameters = as_controller(learner, world, options)
    card = _evaluate(config, parameters, world, options)
    known = _best(options)
    if known is None or selection_key(card) >= selection_key(
        known["card"]
    ):  # the same again, when a run was stopped at this point
        write_json(folder / "best.json", {"card": card, "parameters": parameters.tolist()})
        save_controller(Path(options.run) / "world", options.name, config, parameters, card)
    before = [entry for entry in _history(options) if entry["updates"] < done]
    write_json(folder / "history.json", {"validations": [*before, {"updates": done, **card}]})
    return {name: card[name]["mean"] for name in ("dream", "validation") if name in card}


def _history(options: PpoOptions) -> list[dict[str, Any]]:
    """The validations so far, each with the updates before it."""
    path = Path(options.run) / "ppo" / options.name / "history.json"
    found = read_record(path).get("validations") if path.exists() else []
    if not isinstance(found, list) or not all(isinstance(entry, dict) and "updates" in entry for entry in found):
        raise BrokenStore("history", path, "the validations so far", "remove it: only the learning curve needs it")
    return found


def _curve(options: PpoOptions) -> list[list[float]]:
    """The learning curve: steps until each validation, and its mean in the real game."""
    update = options.num_envs * options.n_steps
    return [[e["updates"] * update, e["validation"]["mean"]] for e in _history(options) if "validation" in e]


def _evaluate(config: ControllerConfig, parameters: Tensor, world: WorldModel, options: PpoOptions) -> dict[str, Any]:
    """The card of a controller."""
    policy = ControllerPolicy(options.name, config, tuple(parameters.tolist()))
    temperatures = spread_temperatures(options.temperature, options.temperature_high, 256)
    workers = Workers(options.workers, options.ray)
    card = evaluate_policy(world, policy, temperatures, Path(options.run) / "world", options.validate_episodes, workers)
    return card | {"temperature": options.temperature}


def as_controller(learner: PPO, world: WorldModel, options: PpoOptions) -> tuple[ControllerConfig, Tensor]:
    """The policy's most likely action as a controller: its config and flat parameters (P,)."""
    parts = [part for layer in _maps(learner) for part in (layer.weight.t().flatten(), layer.bias)]
    return kind_of(world, options), torch.cat(parts).detach()


def kind_of(world: WorldModel, options: PpoOptions) -> ControllerConfig:
    """The controllers that such options make."""
    memory = world.config.memory
    choices = tuple(float(value) for action in world.task.choices(options.actions) for value in action)
    return ControllerConfig(
        memory.latent, memory.hidden, memory.action, options.observation, True, tuple(options.hidden_sizes), choices
    )


def start_from(learner: PPO, config: ControllerConfig, parameters: Tensor, wanted: ControllerConfig) -> None:
    """Give the policy a controller's parameters (P,); raises `InvalidOption` when it is not of the kind `wanted`.

    Where it chose from other actions, each of ours begins with the score of the one that is nearest to it.
    """
    if not config.choices or dataclasses.replace(config, choices=wanted.choices) != wanted:
        raise InvalidOption("start", config, f"a controller like {wanted}", "give the --hidden-sizes it learnt with")
    there, ours = (torch.tensor(kind.choices).view(-1, kind.action) for kind in (config, wanted))
    nearest = torch.cdist(ours, there).argmin(dim=1)
    at, maps = 0, _maps(learner)
    with torch.no_grad():
        for layer, (inputs, outputs) in zip(maps, config.layers, strict=True):
            weight = parameters[at : at + inputs * outputs].view(inputs, outputs).t()
            at += inputs * outputs
            bias = parameters[at : at + outputs]
            at += outputs
            rows = nearest if layer is maps[-1] else torch.arange(outputs)
            layer.weight.copy_(weight[rows])
            layer.bias.copy_(bias[rows])


def _maps(learner: PPO) -> list[torch.nn.Linear]:
    """The policy's affine maps, from what is observed to the scores of the actions."""
    hidden = [part for part in learner.policy.mlp_extractor.policy_net if isinstance(part, torch.nn.Linear)]
    return [*hidden, learner.policy.action_net]
