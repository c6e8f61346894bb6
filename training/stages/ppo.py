"""Train a controller with PPO (Stable-Baselines3) in a batch of dreams, or of real games.

CMA-ES learns from one number per episode, PPO from every step. The result is a controller like any
other: linear as the paper's C, or with hidden layers of tanh units.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from training.acting.policies import ControllerPolicy
from training.infra.checkpoint import check_finite, load_checkpoint, read_extra_state, save_checkpoint
from training.infra.option_groups import (
    ControllerOptions,
    DreamOptions,
    RealGameOptions,
    SeedOption,
    WorldRoundOptions,
    check_setting,
    game_settings,
    plain_name,
)
from training.infra.options import check_options, check_run_options, stage_option
from training.infra.packages import check_game
from training.infra.pool import Workers
from training.infra.progress import Progress
from training.infra.records import read_result, to_json, write_result
from training.infra.run_folder import LearnerFolder, RoundFolder
from training.infra.worlds import check_controller, find_round
from training.judging.scoring import Card, Learned
from training.judging.validation import evaluate_policy, spread_temperatures
from training.learning.optim import one_cycle
from training.learning.policy_network import ensemble, parameters_of, start_from
from wm_envs.envs.real import RealVectorEnv
from wm_envs.errors import BrokenStore, InvalidOption
from wm_envs.files import file_lock
from wm_envs.games.registry import get_task
from wm_envs.models.controller import OBSERVATIONS, ControllerConfig
from wm_envs.models.world_model import WorldModel
from wm_envs.seeds import GAME_TRAINING
from wm_envs.worlds.bundle import load_world, read_config, read_controller, save_controller

if TYPE_CHECKING:  # of the extra 'train', which --help does not need
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecEnv, VecNormalize

IN_THE_GAME: dict[str, Any] = {  # its steps are slow: few environments, and more learning from each step
    "env": "real", "num_envs": 16, "n_steps": 128, "batch_size": 512, "n_epochs": 6, "learning_rate": 5e-4,
    "ent_coef": 0.005,
}  # fmt: skip


@dataclass
class PpoOptions(SeedOption, DreamOptions, RealGameOptions, ControllerOptions, WorldRoundOptions):
    """Train a controller with PPO in the world of a round; the world keeps it under its name."""

    name: str = stage_option("ppo", "name of the controller", identity=True, check=plain_name)
    env: str = stage_option("dream", "where to train: dream or real", identity=True, choices=("dream", "real"))
    settings: tuple[str, ...] = stage_option(
        (), "settings of the real game during training (CarRacing: off_road_cost=2)", identity=True,
        check=check_setting,
    )  # fmt: skip
    curious: bool = stage_option(
        False, "M's surprise is the reward, so that C explores; the last policy is kept (--env real)", identity=True
    )  # fmt: skip
    total_timesteps: int = stage_option(8_000_000, "steps of all environments together", identity=True, minimum=1)
    num_envs: int = stage_option(512, "number of environments (real games: about 16)", identity=True, minimum=1)
    n_steps: int = stage_option(
        32, "steps of each environment between two updates (real games: about 128)", identity=True, minimum=1
    )
    batch_size: int = stage_option(4096, "steps in a minibatch", identity=True, minimum=1)
    n_epochs: int = stage_option(3, "passes over the steps of an update", identity=True, minimum=1)
    observation: str = stage_option("zh", "what C sees: zh, zch or z", identity=True, choices=OBSERVATIONS)
    actions: str = stage_option(
        "discrete", "what C chooses from: discrete, or fine in CarRacing", identity=True, choices=("discrete", "fine")
    )
    learning_rate: float = stage_option(1e-3, "highest rate of the schedule", identity=True, exclusive_minimum=0)
    gamma: float = stage_option(0.985, "discount per step", identity=True, exclusive_minimum=0, maximum=1)
    start: str = stage_option(
        "", "name of a controller in the world to start from, with the same hidden sizes", identity=True
    )
    ent_coef: float = stage_option(0.003, "weight of the policy's entropy", identity=True, minimum=0)
    reward_clip: float = stage_option(0.0, "per-step reward cap (0: none)", identity=True, minimum=0)
    ensemble_size: int = stage_option(
        1, "policies that train from different seeds and are merged into one controller", identity=True, minimum=1
    )
    validate_every: int = stage_option(100, "updates between validations", minimum=1)

    def check(self) -> None:
        """Raises `InvalidOption` for settings of a dream, which has none."""
        super().check()
        if self.settings and self.env != "real":
            raise InvalidOption("settings", self.settings, "none, since a dream has no settings", "give --env real")
        if self.curious and self.env != "real":
            expected = "false, since a dream does not surprise the M that dreams it"
            raise InvalidOption("curious", True, expected, "give --env real")


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best policy so far, as best.json has it."""

    card: Card
    parameters: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Validated(Card):
    """A validation in history.json, after so many updates."""

    updates: int


@dataclass(frozen=True, kw_only=True)
class History:
    """The validations so far; only the learning curve needs them."""

    validations: tuple[Validated, ...]


def main(options: PpoOptions) -> Learned:
    """Train for `total_timesteps` and keep the controller that validates best (of each member of an ensemble), or the
    last one if it is curious."""
    check_options(options)
    folder = find_round(options)
    if options.start:
        check_controller(folder.world, options.start, "start")
    if options.env == "real" or options.validate_episodes:
        check_game(get_task(read_config(folder.world)["world"]["task"]))
    options = dataclasses.replace(options, round=folder.number)
    record = folder.ppo(options.name).options
    with file_lock(record), check_run_options(record, options):
        world = load_world(folder.world)
        return _train_ensemble(folder, world, options) if options.ensemble_size > 1 else _train(folder, world, options)


def _train(folder: RoundFolder, world: WorldModel, options: PpoOptions) -> Learned:
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecNormalize

    from training.learning.clip_reward import ClipReward

    env = VecNormalize(
        ClipReward(_make_envs(folder, world, options), options.reward_clip), norm_obs=False, gamma=options.gamma
    )
    learner = PPO(
        "MlpPolicy", env, options.learning_rate, options.n_steps, options.batch_size, options.n_epochs, options.gamma,
        ent_coef=options.ent_coef, policy_kwargs={"net_arch": {"pi": list(options.hidden_sizes), "vf": [128]}},
        seed=options.seed, device="cpu",
    )  # fmt: skip
    if options.start:
        start_from(learner, *read_controller(folder.world, options.start), as_controller(learner, world, options)[0])
    return _learn(learner, env, folder, world, options)


def _make_envs(folder: RoundFolder, world: WorldModel, options: PpoOptions) -> VecEnv:
    """The dreams, or the real games with their fastest renderer, to train in."""
    from wm_envs.sb3 import LatentVecEnv, make_vec_env

    shared: dict[str, Any] = {
        "world": str(folder.world),
        "observation": options.observation,
        "actions": options.actions,
    }
    if options.env == "dream":
        return make_vec_env("WMDream-v0", options.num_envs, temperature=options.temperature, **shared)
    renderer = world.task.fast_renderer
    settings: dict[str, Any] = {**game_settings(options.settings)}
    games = RealVectorEnv(
        options.num_envs, renderer=renderer, autoreset_mode=AutoresetMode.DISABLED, curious=options.curious, **shared,
        **settings,
    )  # fmt: skip
    return LatentVecEnv(games)


def _learn(learner: PPO, env: VecNormalize, folder: RoundFolder, world: WorldModel, options: PpoOptions) -> Learned:
    path = folder.ppo(options.name).checkpoint
    updates = max(1, options.total_timesteps // (options.num_envs * options.n_steps))
    optimizer = learner.policy.optimizer
    if path.exists():
        done, extra_state = load_checkpoint(path, learner.policy, optimizer)
        read_extra_state(path, extra_state, {"returns": (3,)} | _shapes(world, options))
    else:
        done, extra_state = 0, {}
    with Progress(f"ppo-{options.name}", updates, folder.logs, "updates") as progress:
        progress.skip(done)
        while done < updates:
            rng = _resume(learner, env, world, options, done, extra_state)
            until = min(updates, (done // options.validate_every + 1) * options.validate_every)
            for update in range(done, until):
                if options.env == "dream":
                    highest = options.temperature_high or options.temperature
                    env.set_attr("temperature", rng.uniform(options.temperature, highest))
                rate = one_cycle(update / updates, options.learning_rate, warm=0.02)
                learner.lr_schedule = functools.partial(_constant, rate)
                try:
                    learner.learn(options.num_envs * options.n_steps, reset_num_timesteps=False)
                finally:  # for weights that are not finite, torch raises another error, or none
                    check_finite(learner.policy)
                progress.update(1)
            done = until
            metrics = _validate(learner, folder, world, options, done)
            extra_state = _extra_state(env, world, options)
            save_checkpoint(path, learner.policy, optimizer, done, extra_state)
            progress.log(done, metrics)
    return _keep_best(folder, world, options)


def _constant(rate: float, _: float) -> float:
    """A schedule that has one rate for a whole update."""
    return rate


def _resume(
    learner: PPO, env: VecNormalize, world: WorldModel, options: PpoOptions, done: int, extra_state: dict[str, Tensor]
) -> np.random.Generator:
    """Continue from the checkpoint of `done` updates; returns the generator that the temperatures come from.

    All random numbers depend on (seed, done) only, and dreams continue from their saved states, so a resumed run has
    the same result. The state of a real game cannot be restored: its environments begin new episodes.
    """
    from stable_baselines3.common.utils import set_random_seed

    rng = np.random.default_rng((options.seed, done))
    set_random_seed(int(rng.integers(2**31)))
    env.seed(int(rng.integers(GAME_TRAINING.start, GAME_TRAINING.stop)))
    if extra_state:
        mean, variance, count = (float(value) for value in extra_state["returns"])
        env.ret_rms.mean, env.ret_rms.var, env.ret_rms.count = np.array(mean), np.array(variance), count
    if "state/ticks" in extra_state:
        found = {name.removeprefix("state/"): value for name, value in extra_state.items()}
        env.set_options({"state": world.state_from_tensors(found)})
    learner.set_env(env)
    return rng


def _shapes(world: WorldModel, options: PpoOptions) -> dict[str, tuple[int, ...]]:
    """Shapes of the dreams' state in a checkpoint."""
    if options.env == "real":
        return {}
    return {f"state/{name}": shape for name, shape in world.state_shapes(options.num_envs).items()}


def _extra_state(env: VecNormalize, world: WorldModel, options: PpoOptions) -> dict[str, Tensor]:
    """What `_resume` needs besides the weights."""
    extra_state = {"returns": torch.tensor([env.ret_rms.mean, env.ret_rms.var, env.ret_rms.count], dtype=torch.float64)}
    if options.env == "dream":
        tensors = world.state_to_tensors(env.get_attr("state", 0)[0])
        extra_state |= {f"state/{name}": value for name, value in tensors.items()}
    return extra_state


def _keep_best(folder: RoundFolder, world: WorldModel, options: PpoOptions) -> Learned:
    """Save the best policy in the bundle, which may be a new one; returns its card and the learning curve."""
    learner = folder.ppo(options.name)
    best = _best(learner)
    if best is None:
        raise BrokenStore(
            "best policy", f"no {learner.best}", f"{learner.best.name} beside {learner.checkpoint.name}",
            "give another --name to start again",
        )  # fmt: skip
    parameters = torch.tensor(best.parameters)
    save_controller(folder.world, options.name, kind_of(world, options), parameters, to_json(best.card))
    return Learned(**vars(best.card), curve=_curve(learner, options))


def _best(learner: LearnerFolder) -> Best | None:
    """Card and parameters of the best policy so far."""
    return read_result(Best, learner.best) if learner.best.exists() else None


def _train_ensemble(folder: RoundFolder, world: WorldModel, options: PpoOptions) -> Learned:
    """Train the members one after the other and merge them: each makes other errors, which the mean evens out."""
    names = [f"{options.name}-{number}" for number in range(1, options.ensemble_size + 1)]
    for number, name in enumerate(names):
        main(dataclasses.replace(options, name=name, ensemble_size=1, seed=options.seed + number))
    config, parameters = ensemble([read_controller(folder.world, name) for name in names])
    card = _evaluate(config, parameters, folder, world, options)
    save_controller(folder.world, options.name, config, parameters, to_json(card))
    return Learned(**vars(card))


def _validate(learner: PPO, folder: RoundFolder, world: WorldModel, options: PpoOptions, done: int) -> dict[str, float]:
    """Evaluate the policy of `done` updates, and keep it if none before was better (a curious one always)."""
    files = folder.ppo(options.name)
    config, parameters = as_controller(learner, world, options)
    card = _evaluate(config, parameters, folder, world, options)
    known = _best(files)
    # An equal score also replaces: a run that was stopped here meets its own score again.
    if known is None or options.curious or card.selection >= known.card.selection:
        write_result(files.best, Best(card=card, parameters=tuple(parameters.tolist())))
        save_controller(folder.world, options.name, config, parameters, to_json(card))
    before = [entry for entry in _history(files) if entry.updates < done]
    write_result(files.history, History(validations=(*before, Validated(**vars(card), updates=done))))
    return card.means


def _history(learner: LearnerFolder) -> tuple[Validated, ...]:
    """The validations so far."""
    return read_result(History, learner.history).validations if learner.history.exists() else ()


def _curve(learner: LearnerFolder, options: PpoOptions) -> tuple[tuple[int, float], ...]:
    """The learning curve of `Learned`."""
    update = options.num_envs * options.n_steps
    return tuple((e.updates * update, e.validation.mean) for e in _history(learner) if e.validation)


def _evaluate(
    config: ControllerConfig, parameters: Tensor, folder: RoundFolder, world: WorldModel, options: PpoOptions
) -> Card:
    """The card of a controller."""
    policy = ControllerPolicy(options.name, config, tuple(parameters.tolist()))
    temperatures = spread_temperatures(options.temperature, options.temperature_high, 256)
    workers = Workers(options.workers, options.ray)
    card = evaluate_policy(world, policy, temperatures, folder.world, options.validate_episodes, workers)
    return dataclasses.replace(card, temperature=options.temperature)


def as_controller(learner: PPO, world: WorldModel, options: PpoOptions) -> tuple[ControllerConfig, Tensor]:
    """The policy's most likely action as a controller: its config and flat parameters (P,)."""
    return kind_of(world, options), parameters_of(learner)


def kind_of(world: WorldModel, options: PpoOptions) -> ControllerConfig:
    """The config of the controllers that such options make."""
    memory = world.config.memory
    choices = tuple(float(value) for action in world.task.actions.choices(options.actions) for value in action)
    return ControllerConfig(
        world.observed_latents, memory.hidden, memory.action, options.observation,  # type: ignore[arg-type]
        True, tuple(options.hidden_sizes), choices,
    )  # fmt: skip
