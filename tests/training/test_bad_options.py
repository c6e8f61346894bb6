"""Options of stages that are refused: a typed error names them, and the run stays as it is."""

import math
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import synthetic_store
from training.stages import collect, evaluate, evolve, memory, ppo, vision
from wm_envs.errors import InvalidOption, OptionsDiffer, UnknownName, WorldModelError

NOT_COUNTS = (0, -1, True, 1.5, "3", None)
NOT_POSITIVE = (0.0, -1.0, math.nan, math.inf, "1", None)
SMALL = {
    collect: {"frames": 1, "workers": 1},
    vision: {"batches": 1, "batch_size": 2, "latent": 2},
    memory: {"steps": 1},
    evolve: {"generations": 1, "validate_episodes": 0},
    ppo: {"total_timesteps": 64, "validate_episodes": 0},
}
COUNTS = {
    collect: "frames part_frames",
    vision: "latent batches batch_size checkpoint_every",
    memory: "hidden frame_skip mixtures steps batch_size sequence_length checkpoint_every",
    evolve: "generations population rollouts validate_every",
}
POSITIVE = {vision: "learning_rate", memory: "learning_rate", evolve: "temperature sigma"}
STAGES = [
    *[(module, name, value) for module in COUNTS for name in COUNTS[module].split() for value in NOT_COUNTS],
    *[(module, name, value) for module in POSITIVE for name in POSITIVE[module].split() for value in NOT_POSITIVE],
    *[(collect, name, value) for name in ("round", "workers", "seed") for value in (-1, 1.5)],
    *[(vision, "motion", value) for value in (-1.0, math.nan, math.inf)],
    *[(evolve, name, value) for name in ("decay", "temperature_high") for value in (-1.0, math.nan)],
    *[(module, "seed", -1) for module in (vision, memory, evolve)],
    (evolve, "population", 1), (evolve, "validate_episodes", -1), (evolve, "workers", -1), (evolve, "train_in", "moon"),
    (evolve, "observation", "pixels"),
    *[(evolve, "name", value) for value in ("", "../x", "/tmp/x", ".x", "a b", "x\0", 3)],
    *[(ppo, name, value) for name, value in (
        ("total_timesteps", 0), ("num_envs", -1), ("gamma", math.nan), ("temperature", 0.0), ("observation", "pixels"),
        ("hidden_sizes", (0,)), ("gamma", 1.5), ("n_epochs", 1.5), ("train_in", "other"), ("name", "../x"),
        ("settings", ("lap",)), ("settings", ("off_road_cost=1",)),
    )],
]  # fmt: skip


@pytest.mark.parametrize(("module", "name", "value"), STAGES,
                         ids=[f"{module.__name__[9:]} {name} {value!r}" for module, name, value in STAGES])  # fmt: skip
def test_stages(own_world: Path, module: Any, name: str, value: Any) -> None:
    """`own_world` is the run's world; a run that is refused leaves no trace."""
    run = own_world.parent.parent
    before = sorted(run.rglob("*"))
    with pytest.raises(InvalidOption, match=name):
        module.main(module.Command.flat(**{"run": run, **SMALL[module], name: value}))
    assert sorted(run.rglob("*")) == before


@pytest.mark.parametrize(("name", "value"), [
    *[("episodes", value) for value in NOT_COUNTS], ("first_seed", -1), ("workers", -1), ("workers", 1.5),
])  # fmt: skip
def test_evaluate(tiny_world: Path, name: str, value: Any) -> None:
    with pytest.raises(InvalidOption, match=name):
        evaluate.main(evaluate.Command.flat(**{"world": str(tiny_world), "episodes": 1, name: value}))


def test_names_that_are_not_there(tiny_world: Path, own_world: Path) -> None:
    run = own_world.parent.parent
    with pytest.raises(UnknownName, match="controller"):
        evaluate.main(evaluate.Command.flat(world=str(tiny_world), controller="nobody"))
    with pytest.raises(UnknownName, match="takecover"):
        collect.main(collect.Command.flat(run=run, task="chess"))
    with pytest.raises(UnknownName, match="controller"):
        collect.main(collect.Command.flat(run=run, controllers=("nobody",)))
    with pytest.raises(WorldModelError, match="nowhere"):
        collect.main(collect.Command.flat(run=run, controllers=("controller", "nowhere:controller")))
    for players, task in ((("",), "takecover"), (("controller",), "carracing")):
        with pytest.raises(InvalidOption, match="controllers"):
            collect.main(collect.Command.flat(run=run, task=task, controllers=players))
    with pytest.raises(UnknownName, match="controller"):
        evolve.main(evolve.Command.flat(run=run, start="nobody", generations=1))


def test_other_options_for_a_run(own_world: Path, tiny_vision: None) -> None:
    run = synthetic_store(own_world.parent.parent)
    small = {"generations": 1, "population": 4, "rollouts": 1, "validate_episodes": 0}
    evolve.main(evolve.Command.flat(run=run, **small))
    with pytest.raises(OptionsDiffer, match=r"sigma 0\.1 -> 0\.3"):
        evolve.main(evolve.Command.flat(run=run, sigma=0.3, **small))
    vision.main(vision.Command.flat(run=run, latent=4, batches=1, batch_size=2))
    with pytest.raises(OptionsDiffer, match="latent 4 -> 8"):
        vision.main(vision.Command.flat(run=run, latent=8, batches=1, batch_size=2))
