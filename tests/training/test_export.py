"""Exported models give PyTorch's numbers; what must not be replaced is not."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.helpers import ROOT, TINY, TINY_CONTROLLER, TINY_DRIVE, fresh_process, tiny_model
from training.infra import packages
from training.stages.export import Command as ExportCommand
from training.stages.export import main
from wm_envs.errors import InvalidOption, MissingPackage, UnknownName
from wm_envs.models.controller import ControllerConfig, act
from wm_envs.models.memory.autoregressive import AutoregressiveConfig
from wm_envs.models.memory.registry import memory_kinds
from wm_envs.models.world_model import WorldConfig, WorldModel
from wm_envs.worlds.bundle import load_world, read_controller, save_controller, save_world

onnxruntime = pytest.importorskip("onnxruntime")

STEPS, CLOSE = 200, 1e-3
AUTOREGRESSIVE = AutoregressiveConfig(4, 3, 8, 3, reward=True, active=(2, 0, 1), units=5, clock=100, progress=True)
WORLDS: dict[str, WorldConfig] = {
    "mdn-rnn": dataclasses.replace(TINY, termination="threshold"),
    "autoregressive": dataclasses.replace(TINY_DRIVE, memory=AUTOREGRESSIVE, observed="modelled", burn_in=24),
}
CHOOSY = ControllerConfig(3, 8, 3, "zch", False, (5,), (0.0, -1.0, 0.0, 0.6, 1.0, 0.5))


def run(folder: Path, model: str, inputs: dict[str, torch.Tensor]) -> list[NDArray]:
    session = onnxruntime.InferenceSession(folder / f"{model}.onnx")
    return list(session.run(None, {name: value.numpy() for name, value in inputs.items()}))


@pytest.fixture(scope="module", params=[pytest.param("mdn-rnn", marks=pytest.mark.slow), "autoregressive"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of a tiny world with each kind of M and of its export."""
    folder = tmp_path_factory.mktemp("export")
    config, kind = WORLDS[request.param], memory_kinds()[request.param][1]
    model = tiny_model()
    torch.manual_seed(3)
    memory = kind(config.memory)
    recurrent = (torch.rand(20, 8), torch.rand(20, 8))
    world = WorldModel(config, model.vision, memory, model.initial_means, model.initial_logvars, recurrent)
    save_world(folder / "world", world)
    chosen = CHOOSY if config.observed == "modelled" else TINY_CONTROLLER
    save_controller(folder / "world", "first", chosen, torch.randn(chosen.parameters))
    found = main(ExportCommand.flat(world=str(folder / "world"), onnx=str(folder / "onnx")))
    assert found.controllers == ("first",)
    return folder / "world", folder / "onnx"


def test_both_kinds_of_memory_are_exported() -> None:
    assert set(WORLDS) == set(memory_kinds())


@pytest.mark.parametrize("batch", [1, 3])
def test_a_dream_has_the_numbers_of_pytorch(exported: tuple[Path, Path], batch: int) -> None:
    assert dream_difference(*exported, batch, "first") < CLOSE


@pytest.mark.slow
@pytest.mark.parametrize("world", ["takecover", "carracing"])
def test_a_shipped_dream_has_the_numbers_of_pytorch(world: str, tmp_path: Path) -> None:
    found = main(ExportCommand.flat(world=world, onnx=str(tmp_path / "onnx")))
    assert found.onnx.megabytes < 25
    # Their dreams amplify rounding, PyTorch's own too: each step starts from PyTorch's state.
    assert dream_difference(Path(world), tmp_path / "onnx", 2, found.controllers[0], together=True) < CLOSE


def dream_difference(source: Path, folder: Path, batch: int, controller: str, together: bool = False) -> float:
    """The greatest difference in 200 steps of two dreams with the same noise.

    They go their own ways, or `together`: each step of the models starts from PyTorch's state.
    """
    world, generator = load_world(str(source)), torch.Generator().manual_seed(5)
    config, parameters = read_controller(str(source), controller)
    names = list(world.state_shapes(1))
    which = torch.randint(len(world.initial_means), (batch,), generator=generator)
    normal = torch.randn(batch, world.config.memory.latent, generator=generator)
    state = world.recorded_state(which, normal)
    theirs = run(folder, "begin", {"which": which, "normal": normal})
    names_of_models = ("step", f"controllers/{controller}")
    step, drive = (onnxruntime.InferenceSession(folder / f"{name}.onnx") for name in names_of_models)
    greatest = 0.0
    for _ in range(STEPS):
        noise, temperature = world.draw_noise(batch, generator), 0.5 + torch.rand(batch, 1, generator=generator)
        action = act(config, parameters, world.observe(state, config.observation))
        seen = dict(zip(names, theirs, strict=True))
        (driven,) = drive.run(None, seen)
        given = {f"noise_{name}": value.numpy() for name, value in noise._asdict().items()}
        results = step.run(None, {**seen, **given, "action": driven, "temperature": temperature.numpy()})
        given_to_game = torch.from_numpy(world.task.actions.to_game(action.numpy()))
        state, outcome = world.step(state, given_to_game, noise, temperature)
        ours = [action, *state.tensors(), *outcome]
        greatest = max(greatest, *(distance(a, b) for a, b in zip(ours, [driven, *results], strict=True)))
        theirs = [part.numpy() for part in state.tensors()] if together else results[: len(names)]
    return greatest


def distance(ours: torch.Tensor, theirs: NDArray) -> float:
    """The greatest difference of two arrays of the same shape and type."""
    assert ours.shape == theirs.shape and ours.numpy().dtype == theirs.dtype
    return float(np.abs(ours.double().numpy() - theirs.astype(np.float64)).max())


def test_vision_has_the_numbers_of_pytorch(exported: tuple[Path, Path]) -> None:
    world = load_world(exported[0])
    frames = torch.randint(256, (3, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    means, logvars = world.vision.encode(frames.permute(0, 3, 1, 2) / 255)
    for ours, theirs in zip((means, logvars), run(exported[1], "encoder", {"frames": frames}), strict=True):
        assert distance(ours, theirs) < CLOSE
    (decoded,) = run(exported[1], "decoder", {"latents": means})
    assert decoded.dtype == np.uint8 and decoded.std() > 0
    assert np.abs(world.decode(means).numpy().astype(int) - decoded.astype(int)).max() <= 1  # rounding


def test_the_description_has_the_hashes(exported: tuple[Path, Path]) -> None:
    about = json.loads((exported[1] / "world.json").read_text())
    models = {path.relative_to(exported[1]).as_posix() for path in exported[1].rglob("*.onnx")}
    assert set(about["files"]) == models == {"encoder.onnx", "decoder.onnx", "begin.onnx", "step.onnx",
                                             "controllers/first.onnx"}  # fmt: skip
    for name, digest in about["files"].items():
        assert hashlib.sha256((exported[1] / name).read_bytes()).hexdigest() == digest


def test_the_example_needs_onnxruntime_and_numpy_alone(exported: tuple[Path, Path]) -> None:
    script = ROOT / "examples" / "onnx_dream.py"
    blocked = "import sys; sys.modules |= dict.fromkeys(['torch', 'wm_envs', 'onnx', 'gymnasium']); "
    code = f"{blocked}sys.argv[1:] = [{str(exported[1])!r}, '1.2']; exec(open({str(script)!r}).read())"
    assert " ticks, score " in fresh_process(code)


def test_an_export_replaces_nothing_else(tiny_world: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "notes.txt").write_text("mine")
    for target in (tmp_path / "precious", tmp_path / "precious" / "notes.txt", tiny_world):
        with pytest.raises(InvalidOption, match="expected a folder that is new, empty, or holds an earlier export"):
            main(ExportCommand.flat(world=str(tiny_world), onnx=str(target)))
    assert (tmp_path / "precious" / "notes.txt").read_text() == "mine"


def test_refusals_leave_nothing_behind(own_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out"
    with pytest.raises(InvalidOption, match="onnx: got nothing"):
        main(ExportCommand.flat(world=str(own_world)))
    with pytest.raises(UnknownName, match="did you mean 'takecover'"):
        main(ExportCommand.flat(world="takecovr", onnx=str(target)))
    save_controller(own_world, "../escaped", TINY_CONTROLLER, torch.zeros(TINY_CONTROLLER.parameters))
    with pytest.raises(InvalidOption, match="escaped"):
        main(ExportCommand.flat(world=str(own_world), onnx=str(target)))
    monkeypatch.setattr(packages, "missing", lambda modules: "onnxscript")
    with pytest.raises(MissingPackage, match=r"pip install 'wm-envs\[onnx\]'"):
        main(ExportCommand.flat(onnx=str(target)))
    assert not target.exists()
