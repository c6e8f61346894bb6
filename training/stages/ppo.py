"""Train a controller with PPO (Stable-Baselines3) in a batch of dreams, or of real games.

CMA-ES learns from one number per episode, PPO from every step. The result is a controller like any other: linear as
the paper's C, or with hidden layers of tanh units.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Annotated, Literal, Self

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from pydantic import Field, model_validator
from torch import Tensor

from training.acting.policies import ControllerPolicy
from training.config.base import FLAT, MAY_CHANGE, Config, Count, Natural, NotNegative, Positive, Probability
from training.config.commands import LearnerCommand, PlainName, Settings, game_settings
from training.config.records import recorded
from training.infra.checkpoint import check_finite, load_checkpoint, read_extra_state, save_checkpoint
from training.infra.progress import Progress
from training.infra.records import to_json
from training.infra.run_folder import RoundFolder
from training.judging.scoring import Card, Learned
from training.judging.selection import Selection
from training.judging.validation import evaluate_policy, spread_temperatures
from training.learning.moments import Moments
from training.learning.optim import one_cycle
from training.learning.policy_network import ensemble, parameters_of, start_from, values_from
from wm_envs.envs.dream import DreamVectorEnv
from wm_envs.envs.real import RealVectorEnv
from wm_envs.errors import InvalidOption
from wm_envs.games.base import Keywords
from wm_envs.models.controller import ControllerConfig
from wm_envs.models.world_model import WorldModel
from wm_envs.seeds import GAME_TRAINING
from wm_envs.worlds.bundle import load_world, read_config, read_controller, save_controller

if TYPE_CHECKING:  # of the extra 'train', which --help does not need
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.vec_env import VecEnv


class PpoConfig(Config):
    """How PPO trains a controller."""

    total_timesteps: Count = Field(8_000_000, description="steps of all environments together")
    num_envs: Count = Field(512, description="number of environments (real games: about 16)")
    n_steps: Count = Field(32, description="steps of each environment between two updates (real games: about 128)")
    batch_size: Count = Field(4096, description="steps in a minibatch")
    n_epochs: Count = Field(3, description="passes over the steps of an update")
    observation: Literal["zh", "zch", "z"] = Field("zh", description="what C sees")
    actions: Literal["discrete", "fine", "finest"] = Field(
        "discrete", description="what C chooses from; finest: fine where the game has it, else discrete"
    )
    hidden_sizes: tuple[Count, ...] = Field(
        (64,), description="tanh units of the controller's hidden layers (none: linear)"
    )
    learning_rate: Positive = Field(1e-3, description="highest rate of the schedule")
    gamma: Annotated[Positive, Field(le=1)] = Field(0.985, description="discount factor per step")
    ent_coef: NotNegative = Field(0.003, description="weight of the policy's entropy")
    reward_clip: Positive | Literal["none"] = Field("none", description="per-step reward cap")
    recorded_starts: Probability = Field(
        0.0, description="share of dreams that begin at a recorded moment, not at the start of an episode"
    )
    ensemble_size: Count = Field(
        1, description="policies that train from different seeds and are merged into one controller"
    )
    split_temperatures: bool = Field(
        False,
        description="each member trains in its own part of the range of temperatures; of their mean and each of them, "
        "the one that validates best is kept",
    )
    validate_every: Annotated[Count, MAY_CHANGE] = Field(100, description="updates between validations")
    validate_episodes: Annotated[Natural, MAY_CHANGE] = Field(
        48, description="real episodes per validation (0: validate in dreams only)"
    )

    @model_validator(mode="after")
    def _validation_chooses_a_member(self) -> Self:
        if self.split_temperatures and (self.ensemble_size < 2 or not self.validate_episodes):
            expected = "false without --ensemble-size 2 or more and --validate-episodes"
            raise InvalidOption("split_temperatures", True, expected, "give --ensemble-size 3")
        return self

    @property
    def update_size(self) -> int:
        """Steps of all environments between two updates."""
        return self.num_envs * self.n_steps

    @property
    def updates(self) -> int:
        """The number of updates."""
        return max(1, self.total_timesteps // self.update_size)


IN_THE_GAME = PpoConfig(  # its steps are slow: few environments, and more learning from each step
    num_envs=16, n_steps=128, batch_size=512, n_epochs=6, learning_rate=5e-4, ent_coef=0.005
)


class Command(LearnerCommand):
    """Train a controller with PPO in the world of a round; the world keeps it under its name."""

    name: PlainName = Field("ppo", description="name of the controller")
    settings: Settings = Field(
        (), description="settings of the real game during training, NAME=NUMBER (CarRacing: off_road_cost=2)"
    )
    curious: bool = Field(
        False,
        description="M's prediction error is the reward, so that C explores; keep the last policy (--train-in game)",
    )
    config: Annotated[PpoConfig, FLAT] = PpoConfig()

    @model_validator(mode="after")
    def _fits_the_place(self) -> Self:
        if self.settings and self.train_in == "dream":
            fix = "give --train-in game"
            raise InvalidOption("settings", self.settings, "none, since a dream has no settings", fix)
        if self.config.recorded_starts and self.train_in == "game":
            fix = "give --recorded-starts 0"
            raise InvalidOption("recorded_starts", self.config.recorded_starts, "0 with --train-in game", fix)
        if self.curious and self.train_in == "dream":
            expected = "--train-in game, since M predicts its own dream without error"
            raise InvalidOption("curious", True, expected, "give --train-in game")
        return self


def main(command: Command) -> Learned:
    """Train for `total_timesteps` and keep the controller that validates best (of each member of an ensemble), or the
    last one if it is curious."""
    folder = command.world_round(command.config.validate_episodes)
    with recorded(folder.ppo(command.name).options, command):
        if command.config.ensemble_size > 1:
            return _train_ensemble(folder, command)
        return Training(folder, command).run()


def _train_ensemble(folder: RoundFolder, command: Command) -> Learned:
    """Train the members one after the other and merge them: each makes other errors, which the mean evens out.

    With `split_temperatures` a member is kept instead if it validates better than the mean.
    """
    count, split = command.config.ensemble_size, command.config.split_temperatures
    names = [f"{command.name}-{number}" for number in range(1, count + 1)]
    alone = command.config.replace(ensemble_size=1, split_temperatures=False)
    limits = np.linspace(command.temperature, command.highest, count + 1).tolist()
    known = read_config(command.start_folder(folder).world)["controllers"]
    learned = []
    for number, name in enumerate(names):
        own = dict(temperature=limits[number], temperature_high=limits[number + 1]) if split else {}
        start = f"{command.start}-{number + 1}"  # the member of an ensemble, if --start is one
        start = start if command.start and start in known else command.start
        member = command.replace(name=name, seed=command.seed + number, config=alone, start=start, **own)
        learned.append(main(member))
    controllers = [read_controller(folder.world, name) for name in names]
    config, parameters = ensemble(controllers)
    card = Training(folder, command).evaluate(config, parameters)
    if split:
        cards = [card, *(each.card for each in learned)]
        best = max(range(count + 1), key=lambda number: cards[number].selection)
        card, (config, parameters) = cards[best], [(config, parameters), *controllers][best]
    save_controller(folder.world, command.name, config, parameters, to_json(card))
    return Learned(**vars(card))


def kind_of_actions(world: WorldModel, config: PpoConfig) -> str:
    """The keyword `actions` of the environments in which PPO learns."""
    return world.task.actions.finest if config.actions == "finest" else config.actions


def controller_config(world: WorldModel, config: PpoConfig) -> ControllerConfig:
    """The config of the controllers that PPO makes in a world."""
    kind = kind_of_actions(world, config)
    choices = tuple(float(value) for action in world.task.actions.choices(kind) for value in action)
    sizes = world.observed_latents, world.config.memory.hidden, world.config.memory.action
    return ControllerConfig(*sizes, config.observation, True, config.hidden_sizes, choices)


class Training:
    """The training of one controller. It resumes from the checkpoint of the last validation, to the bit in dreams."""

    def __init__(self, folder: RoundFolder, command: Command) -> None:
        self.folder, self.command, self.config = folder, command, command.config
        self.world = load_world(folder.world)
        self.files = folder.ppo(command.name)
        self.selection = Selection(self.files)
        self.controller = controller_config(self.world, self.config)

    def run(self) -> Learned:
        """Train, or go on; returns the card of the best controller, and the learning curve."""
        self.prepare()
        self._learn(self._start())
        best = self.selection.best()
        parameters = torch.tensor(best.parameters)
        save_controller(self.folder.world, self.command.name, self.controller, parameters, to_json(best.card))
        return Learned(**vars(best.card), curve=self.selection.curve(self.config.update_size))

    def prepare(self) -> None:
        """Make the environments, and the learner with random weights."""
        from stable_baselines3 import PPO
        from stable_baselines3.common.vec_env import VecNormalize

        from training.learning.clip_reward import ClipReward

        config = self.config
        clip = math.inf if config.reward_clip == "none" else config.reward_clip
        self.env = VecNormalize(ClipReward(self._make_envs(), clip), norm_obs=False, gamma=config.gamma)
        self.learner = PPO(
            "MlpPolicy",
            self.env,
            self._learning_rate,
            config.n_steps,
            config.batch_size,
            config.n_epochs,
            config.gamma,
            ent_coef=config.ent_coef,
            policy_kwargs={"net_arch": {"pi": list(config.hidden_sizes), "vf": [128]}},
            seed=self.command.seed,
            device="cpu",
        )

    def evaluate(self, config: ControllerConfig, parameters: Tensor) -> Card:
        """The card of a controller."""
        command = self.command
        policy = ControllerPolicy(command.name, config, tuple(parameters.tolist()))
        temperatures = spread_temperatures(command.temperature, command.highest, 256)
        card = evaluate_policy(
            self.world, policy, temperatures, self.folder.world, self.config.validate_episodes, command.pool
        )
        return dataclasses.replace(card, temperature=command.temperature)

    def _make_envs(self) -> VecEnv:
        """The dreams, or the real games with their fastest renderer, to train in."""
        from wm_envs.sb3 import LatentVecEnv, make_vec_env

        shared: Keywords = {
            "world": str(self.folder.world),
            "observation": self.config.observation,
            "actions": kind_of_actions(self.world, self.config),
        }
        if self.command.train_in == "dream":
            shared["temperature"] = self.command.temperature
            if self.config.recorded_starts:
                return self._dreams_from_moments(shared)
            return make_vec_env("WMDream-v0", self.config.num_envs, **shared)
        renderer = self.world.task.fast_renderer
        settings: Keywords = {**game_settings(self.command.settings)}
        games = RealVectorEnv(
            self.config.num_envs,
            renderer=renderer,
            autoreset_mode=AutoresetMode.DISABLED,
            curious=self.command.curious,
            **shared,
            **settings,
        )
        return LatentVecEnv(games)

    def _dreams_from_moments(self, keywords: Keywords) -> VecEnv:
        """Dreams of which a share begins at recorded moments; raises `InvalidOption` when there are none."""
        from training.learning.recorded_starts import RecordedStarts

        path, share = self.folder.moments, self.config.recorded_starts
        if not path.exists():
            fix = "train M again with `python -m training memory`, or give --recorded-starts 0"
            raise InvalidOption("recorded_starts", share, f"0 without {path}", fix)
        dreams = DreamVectorEnv(self.config.num_envs, autoreset_mode=AutoresetMode.DISABLED, **keywords)
        return RecordedStarts(dreams, Moments.read(path, self.world), share)

    def _learning_rate(self, _: float) -> float:
        """The rate of the update that follows the steps so far (SB3 knows progress only within one call of `learn`)."""
        update = max(0, self.learner.num_timesteps // self.config.update_size - 1) if hasattr(self, "learner") else 0
        return one_cycle(update / self.config.updates, self.config.learning_rate, warm=0.02)

    def _start(self) -> dict[str, Tensor]:
        """Start from the controller of --start. From an earlier round its value network comes along; the result is then
        a part of what `_resume` needs."""
        if not self.command.start:
            return {}
        folder, name = self.command.start_folder(self.folder), self.command.start
        start_from(self.learner, *read_controller(folder.world, name), self.controller)
        checkpoint = folder.ppo(name).checkpoint
        return values_from(self.learner, checkpoint) if self.command.continues and checkpoint.exists() else {}

    def _learn(self, extra_state: dict[str, Tensor]) -> None:
        """Train until all updates are done, from the checkpoint if there is one, else with this extra state."""
        policy, config, done = self.learner.policy, self.config, 0
        if self.files.checkpoint.exists():
            done, extra_state = load_checkpoint(self.files.checkpoint, policy, policy.optimizer)
            read_extra_state(self.files.checkpoint, extra_state, {"returns": (3,)} | self._state_shapes())
        with Progress(f"ppo-{self.command.name}", config.updates, self.folder.logs, "updates") as progress:
            progress.skip(done)
            if self.command.continues and not done:
                progress.log(0, self._validate(0))  # it remains the best if the training makes it worse
            while done < config.updates:
                rng = self._resume(done, extra_state)
                until = min(config.updates, (done // config.validate_every + 1) * config.validate_every)
                try:
                    steps = (until - done) * config.update_size
                    self.learner.learn(steps, self._each_update(rng, progress), reset_num_timesteps=False)
                finally:  # for weights that are not finite, torch raises another error, or none
                    check_finite(policy)
                done = until
                metrics = self._validate(done)
                extra_state = self._extra_state()
                save_checkpoint(self.files.checkpoint, policy, policy.optimizer, done, extra_state)
                progress.log(done, metrics)

    def _each_update(self, rng: np.random.Generator, progress: Progress) -> BaseCallback:
        """Draws the temperature of the dreams before an update, and reports the update after it."""
        from stable_baselines3.common.callbacks import BaseCallback

        command, env = self.command, self.env

        class EachUpdate(BaseCallback):
            def _on_rollout_start(self) -> None:
                check_finite(self.model.policy)
                if command.train_in == "dream":
                    env.set_attr("temperature", rng.uniform(command.temperature, command.highest))

            def _on_rollout_end(self) -> None:
                progress.update(1)

            def _on_step(self) -> bool:
                return True

        return EachUpdate()

    def _resume(self, done: int, extra_state: dict[str, Tensor]) -> np.random.Generator:
        """Continue from the checkpoint of `done` updates; returns the generator that the temperatures come from.

        All random numbers depend on (seed, done) only, and dreams continue from their saved states, so a resumed run
        has the same result. The state of a real game cannot be restored: its environments begin new episodes.
        """
        from stable_baselines3.common.utils import set_random_seed

        rng = np.random.default_rng((self.command.seed, done))
        set_random_seed(int(rng.integers(2**31)))
        self.env.seed(int(rng.integers(GAME_TRAINING.start, GAME_TRAINING.stop)))
        if extra_state:
            mean, variance, count = (float(value) for value in extra_state["returns"])
            statistics = self.env.ret_rms
            statistics.mean, statistics.var, statistics.count = np.array(mean), np.array(variance), count
        if "state/ticks" in extra_state:
            state = {name.removeprefix("state/"): value for name, value in extra_state.items()}
            self.env.set_options({"state": self.world.state_from_tensors(state)})
        self.learner.set_env(self.env)
        self.learner.num_timesteps = done * self.config.update_size
        return rng

    def _state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the dreams' state in a checkpoint."""
        if self.command.train_in == "game":
            return {}
        return {f"state/{name}": shape for name, shape in self.world.state_shapes(self.config.num_envs).items()}

    def _extra_state(self) -> dict[str, Tensor]:
        """What `_resume` needs besides the weights."""
        statistics = self.env.ret_rms
        returns = torch.tensor([statistics.mean, statistics.var, statistics.count], dtype=torch.float64)
        if self.command.train_in == "game":
            return {"returns": returns}
        tensors = self.world.state_to_tensors(self.env.get_attr("state", 0)[0])
        return {"returns": returns} | {f"state/{name}": value for name, value in tensors.items()}

    def _validate(self, done: int) -> dict[str, float]:
        """Evaluate the policy of `done` updates, and keep it if none before was better (a curious one always)."""
        parameters = parameters_of(self.learner)
        card = self.evaluate(self.controller, parameters)
        if self.selection.add(done, card, tuple(parameters.tolist()), always=self.command.curious):
            save_controller(self.folder.world, self.command.name, self.controller, parameters, to_json(card))
        return card.means
