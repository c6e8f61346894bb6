"""World bundles: round trips, controllers, unknown names, and the refusal of every kind of damage."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save

from tests.helpers import TINY, TINY_CONTROLLER, change_config, replace_file, tiny_model
from wm_envs.errors import BrokenWorld, InvalidOption, UnknownName
from wm_envs.models.controller import ControllerConfig
from wm_envs.models.vision.conv_vae import ConvVAE, ConvVAEConfig
from wm_envs.worlds import bundle as worlds
from wm_envs.worlds.bundle import load_world, read_config, read_controller, resolve, save_controller, save_world

WEIGHTS, CONTROLLERS = "world.safetensors", "controllers.safetensors"


def test_world_round_trip(tmp_path: Path) -> None:
    config = dataclasses.replace(TINY, frame_skip=3, termination="threshold", temperature=1.25)
    made = tiny_model(config=config)
    save_world(tmp_path / "w", made, {"note": 1})
    found = load_world(tmp_path / "w")
    assert found.config == config
    assert read_config(tmp_path / "w")["card"] == {"note": 1}
    for model, again in ((made.vision, found.vision), (made.memory, found.memory)):
        for name, value in model.state_dict().items():
            assert torch.equal(value.half().float(), again.state_dict()[name]), name
    assert torch.equal(made.initial_means.half().float(), found.initial_means)
    assert torch.equal(made.initial_logvars.half().float(), found.initial_logvars)
    assert not any(p.requires_grad for p in (*found.vision.parameters(), *found.memory.parameters()))


def test_world_with_burn_in_round_trip_and_checks(tmp_path: Path) -> None:
    made = tiny_model(config=dataclasses.replace(TINY, burn_in=8))
    made.initial_recurrent = (torch.rand(20, 8), torch.rand(20, 8))
    save_world(tmp_path / "w", made)
    found = load_world(tmp_path / "w")
    for ours, theirs in zip(made.initial_recurrent, found.initial_recurrent, strict=True):
        assert torch.equal(ours.half().float(), theirs)
    made.initial_recurrent = (made.initial_recurrent[0][:, :7], made.initial_recurrent[1])
    save_world(tmp_path / "w", made)
    with pytest.raises(BrokenWorld, match=r"initial states .*hidden"):
        load_world(tmp_path / "w")


def test_saving_a_loaded_world_gives_the_same_bytes(tiny_world: Path, tmp_path: Path) -> None:
    save_world(tmp_path / "w", load_world(tiny_world))
    assert (tmp_path / "w" / WEIGHTS).read_bytes() == (tiny_world / WEIGHTS).read_bytes()


def test_overrides_replace_config_fields(tiny_world: Path) -> None:
    assert load_world(tiny_world, overrides={"termination": "threshold"}).config.termination == "threshold"
    for overrides in ({"termination": "never"}, {"colour": "red"}):
        with pytest.raises(InvalidOption, match="overrides"):
            load_world(tiny_world, overrides=overrides)


def test_controller_round_trip(own_world: Path) -> None:
    other = ControllerConfig(4, 8, 1, "zch", False, (7, 5), (0.0, 1.0, -1.0))
    parameters = torch.randn(other.parameters)
    save_controller(own_world, "other", other, parameters, {"score": 3})
    assert list(read_config(own_world)["controllers"]) == ["controller", "other"]
    config, found = read_controller(own_world, "other")
    assert config == other and torch.equal(found, parameters)
    assert read_controller(own_world)[0] == TINY_CONTROLLER
    save_controller(own_world, "other", other, 2 * parameters)
    assert torch.equal(read_controller(own_world, "other")[1], 2 * parameters)
    load_world(own_world)


def test_unknown_controller_error_lists_the_names(tiny_world: Path) -> None:
    with pytest.raises(UnknownName, match="controller"):
        read_controller(tiny_world, "nobody")


UNKNOWN = {"other": "gamma", "empty": "", "None": None, "number": 3, "no folder": "no/such/folder", "nul": "alpha\0",
           "long": "x" * 5000, "path": Path("gamma")}  # fmt: skip


@pytest.mark.parametrize("name", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_unknown_world_error_lists_the_names(monkeypatch: pytest.MonkeyPatch, tiny_world: Path, name: Any) -> None:
    folder = tiny_world.parent / "shipped"
    for shipped in ("alpha", "beta"):
        shutil.copytree(tiny_world, folder / shipped, dirs_exist_ok=True)
    monkeypatch.setattr(worlds, "PRETRAINED", folder)
    assert resolve("alpha") == folder / "alpha"
    load_world("beta")
    with pytest.raises(UnknownName, match="'alpha', 'beta'"):
        load_world(name)


Damage = Callable[[Path], None]


def edit(change: Callable[[dict[str, Any]], Any]) -> Damage:
    """Damage that changes values of config.json and corrects its checksum."""

    return lambda folder: change_config(folder, change)


def setting(path: str, value: Any) -> Damage:
    """Damage that sets one value of config.json; `path` is separated by dots."""

    def change(bundle: dict[str, Any]) -> None:
        *outer, last = path.split(".")
        for key in outer:
            bundle = bundle[key]
        bundle[last] = value

    return edit(change)


def missing(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def truncated(name: str, keep: float = 0.5) -> Damage:
    def damage(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(keep * len(data))])

    return damage


def flipped(name: str, where: float) -> Damage:
    def damage(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[int(where * (len(data) - 1))] ^= 0x80
        (folder / name).write_bytes(data)

    return damage


def tensors(change: Callable[[dict[str, torch.Tensor]], Any], name: str = WEIGHTS) -> Damage:
    """Damage that changes tensors and corrects their size and hash."""

    def damage(folder: Path) -> None:
        values = load_file(folder / name)
        change(values)
        replace_file(folder, name, save(values))

    return damage


def poison(name: str, value: float) -> Callable[[dict[str, torch.Tensor]], None]:
    return lambda values: values[name].view(-1)[:1].fill_(value)


def firsts(*shape: int) -> dict[str, torch.Tensor]:
    return {"first/means": torch.zeros(shape), "first/logvars": torch.zeros(shape)}


BROKEN_WORLDS: dict[str, Damage] = {  # tests/torture/hostile_files.py has more
    "no config": missing("config.json"),
    "no weights": missing(WEIGHTS),
    "config cut": truncated("config.json"),
    "config empty": truncated("config.json", 0),
    "config flipped": flipped("config.json", 0),
    "weights cut": truncated(WEIGHTS),
    "weights empty": truncated(WEIGHTS, 0),
    "header flipped": flipped(WEIGHTS, 0.001),
    "middle flipped": flipped(WEIGHTS, 0.5),
    "last flipped": flipped(WEIGHTS, 1.0),
    "large": lambda folder: (folder / "config.json").write_text('"' + "x" * (1 << 21) + '"'),
    "a digit": lambda folder: (folder / "config.json").write_text(
        (folder / "config.json").read_text().replace('"frame_skip": 4', '"frame_skip": 5')
    ),
    "format": setting("format", "something-else"),
    "version": setting("version", 3),
    "no version": edit(lambda bundle: bundle.pop("version")),
    "no world": edit(lambda bundle: bundle.pop("world")),
    "world a list": setting("world", []),
    "no files": edit(lambda bundle: bundle.update(files={})),
    "files a list": setting("files", [WEIGHTS]),
    "file a number": edit(lambda bundle: bundle["files"].update({WEIGHTS: 3})),
    "no hash": edit(lambda bundle: bundle["files"][WEIGHTS].pop("sha256")),
    "other hash": edit(lambda bundle: bundle["files"][WEIGHTS].update(sha256="0" * 64)),
    "unknown field": setting("world.colour", "red"),
    "V no object": setting("world.vision", 64),
    "task unknown": setting("world.task", "chess"),
    "task a number": setting("world.task", 3),
    "latent differs": edit(lambda bundle: bundle["world"]["memory"].update(latent=5)),
    "other latent": edit(lambda bundle: [bundle["world"][part].update(latent=5) for part in ("vision", "memory")]),
    "other hidden": setting("world.memory.hidden", 16),
    "other inputs": setting("world.memory.restart", False),
    "other heads": setting("world.memory.reward", True),
    "other action": setting("world.memory.action", 2),
    "huge hidden": setting("world.memory.hidden", 10**9),
    "huge channels": setting("world.vision.channels", [10**9] * 4),
    "huge latent": edit(lambda bundle: [bundle["world"][part].update(latent=10**12) for part in ("vision", "memory")]),
    "termination": setting("world.termination", "never"),
    "temperature 0": setting("world.temperature", 0.0),
    "temperature nan": setting("world.temperature", float("nan")),
    "end weight 0": setting("world.memory.termination_weight", 0),
    "nan": tensors(poison("memory/head.bias", float("nan"))),
    "inf": tensors(poison("vision/mean.weight", float("inf"))),
    "nan in firsts": tensors(poison("first/means", float("nan"))),
    "a tensor less": tensors(lambda values: values.pop("memory/head.bias")),
    "a tensor more": tensors(lambda values: values.update({"memory/more": torch.zeros(1)})),
    "no firsts": tensors(lambda values: values.pop("first/means")),
    "firsts empty": tensors(lambda values: values.update(firsts(0, 4))),
    "firsts of other sizes": tensors(lambda values: values.update({"first/means": torch.zeros(20, 5)})),
    "firsts of other counts": tensors(lambda values: values.update({"first/logvars": torch.zeros(19, 4)})),
    "firsts of one axis": tensors(lambda values: values.update(firsts(4))),
}


@pytest.mark.parametrize("damage", BROKEN_WORLDS.values(), ids=BROKEN_WORLDS.keys())
def test_broken_world_is_refused(own_world: Path, damage: Damage) -> None:
    damage(own_world)
    with pytest.raises(BrokenWorld) as raised:
        load_world(own_world)
    assert str(own_world) in str(raised.value)


BROKEN_CONTROLLERS: dict[str, Damage] = {
    "missing": missing(CONTROLLERS),
    "cut": truncated(CONTROLLERS),
    "flipped": flipped(CONTROLLERS, 1.0),
    "not listed": edit(lambda bundle: bundle["files"].pop(CONTROLLERS)),
    "nan": tensors(poison("controller", float("nan")), CONTROLLERS),
    "other length": tensors(lambda values: values.update(controller=torch.zeros(12)), CONTROLLERS),
    "two axes": tensors(lambda values: values.update(controller=torch.zeros(13, 1)), CONTROLLERS),
    "not in the file": tensors(lambda values: values.update(other=values.pop("controller")), CONTROLLERS),
    "other sizes": setting("controllers.controller.config.hidden", 9),
    "huge": setting("controllers.controller.config.hidden", 10**30),
    "observation": setting("controllers.controller.config.observation", "pixels"),
    "hidden_sizes": setting("controllers.controller.config.hidden_sizes", [0]),
    "many units": setting("controllers.controller.config.hidden_sizes", [10**9]),
    "choices": setting("controllers.controller.config.choices", [2.0]),
    "unknown field": setting("controllers.controller.config.layers", 3),
    "no config": edit(lambda bundle: bundle["controllers"]["controller"].pop("config")),
    "config a list": setting("controllers.controller.config", []),
    "a list": setting("controllers.controller", []),
    "null": setting("controllers.controller", None),
    "controllers a list": setting("controllers", ["controller"]),
}


@pytest.mark.parametrize("damage", BROKEN_CONTROLLERS.values(), ids=BROKEN_CONTROLLERS.keys())
def test_broken_controller_is_refused(own_world: Path, damage: Damage) -> None:
    damage(own_world)
    with pytest.raises(BrokenWorld) as raised:
        read_controller(own_world, "controller")
    assert str(own_world) in str(raised.value)


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped"])
def test_world_loads_with_a_broken_controller(own_world: Path, damage: str) -> None:
    BROKEN_CONTROLLERS[damage](own_world)
    load_world(own_world)


def test_large_sizes_in_the_config_allocate_no_memory(own_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes in the allowed range that the file does not have would need gigabytes: no memory is allocated for them."""

    def init(self: ConvVAE, config: ConvVAEConfig) -> None:
        assert torch.empty(0).device.type == "meta", f"V was built in memory of {config}"
        build(self, config)

    build = ConvVAE.__init__
    monkeypatch.setattr(ConvVAE, "__init__", init)
    setting("world.vision.channels", [4096] * 4)(own_world)
    with pytest.raises(BrokenWorld):
        load_world(own_world)


def test_failed_save_leaves_the_old_bundle(own_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in own_world.iterdir()}

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="free some space"):
        save_world(own_world, tiny_model())
    assert {path.name: path.read_bytes() for path in own_world.iterdir()} == before


def test_saving_the_same_world_keeps_its_controllers(own_world: Path) -> None:
    before = read_controller(own_world)[1]
    save_world(own_world, load_world(own_world), {"note": "again"})
    assert torch.equal(read_controller(own_world)[1], before) and read_config(own_world)["card"] == {"note": "again"}
    (own_world / CONTROLLERS).write_bytes(b"cut")
    save_world(own_world, load_world(own_world))
    with pytest.raises(UnknownName):  # damaged controllers are dropped: new ones can be trained
        read_controller(own_world)
    other = tiny_model()
    with torch.no_grad():
        other.memory.head.bias[0] += 1
    save_controller(own_world, "new", TINY_CONTROLLER, before)
    save_world(own_world, other)
    assert not read_config(own_world)["controllers"], "controllers of another world are kept"
