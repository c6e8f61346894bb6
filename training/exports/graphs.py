"""The parts of a world as ONNX models.

Every input and output has a batch axis of any length. The models hold a `State` as separate tensors: latents, the parts
of M's recurrent state under their own names, ticks, and progress.
"""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from wm_envs.games.base import FRAME_SHAPE
from wm_envs.models.controller import ControllerConfig, act
from wm_envs.models.memory.base import Memory
from wm_envs.models.state import Noise, Recurrent, State
from wm_envs.models.vision.base import to_frames, to_images
from wm_envs.models.world_model import WorldModel

NOISE = tuple(f"noise_{name}" for name in Noise._fields)
OUTCOME = ("reward", "terminated", "termination_probability")
SMALL = 256  # numbers; smaller constants stay float32


class Plain(WorldModel):
    """A world whose step of M is `Memory.forward`: an exporter cannot follow the packed one with its buffers."""

    def __init__(self, world: WorldModel) -> None:
        super().__init__(
            world.config, world.vision, world.memory, world.initial_means, world.initial_logvars,
            world.initial_recurrent,
        )  # fmt: skip

    def predict(self, state: State, action: Tensor) -> tuple[Any, Recurrent]:
        """See `WorldModel.predict`."""
        return Memory.step(self.memory, state.latents, action, state.ticks, state.recurrent, state.progress)


class Part(nn.Module):
    """A part of a world as a module, with its names and an example of its inputs, a batch of two."""

    inputs: list[str]
    outputs: list[str]
    example: tuple[Any, ...]

    def __init__(self, world: WorldModel) -> None:
        super().__init__()
        self.world, self.vision, self.memory = Plain(world), world.vision, world.memory
        self.state = list(world.state_shapes(1))  # names
        generator = torch.Generator().manual_seed(0)
        self.start, self.noise = world.initial_state(2, generator), world.draw_noise(2, generator)


class Encoder(Part):
    """`frames` (B, 64, 64, 3) uint8 -> `means`, `logvars` (B, Z), V's posterior."""

    def __init__(self, world: WorldModel) -> None:
        super().__init__(world)
        self.inputs, self.outputs = ["frames"], ["means", "logvars"]
        self.example = (torch.zeros(2, *FRAME_SHAPE, dtype=torch.uint8),)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """See `WorldModel.encode`."""
        mean, logvar = self.vision.encode(to_images(frames))
        return mean, logvar


class Decoder(Part):
    """`latents` (B, Z) -> `frames` (B, 64, 64, 3) uint8."""

    def __init__(self, world: WorldModel) -> None:
        super().__init__(world)
        self.inputs, self.outputs = ["latents"], ["frames"]
        self.example = (self.start.latents,)

    def forward(self, latents: Tensor) -> Tensor:
        """See `WorldModel.decode`."""
        return to_frames(self.vision.decode(latents))


class Begin(Part):
    """`which` (B,) int64, the number of a recorded state, and `normal` (B, Z) -> the state in which a dream begins."""

    def __init__(self, world: WorldModel) -> None:
        super().__init__(world)
        self.inputs, self.outputs = ["which", "normal"], self.state
        self.example = (torch.zeros(2, dtype=torch.int64), self.noise.normal)

    def forward(self, which: Tensor, normal: Tensor) -> tuple[Tensor, ...]:
        """See `WorldModel.recorded_state`."""
        return self.world.recorded_state(which, normal).tensors()


class Step(Part):
    """The state, the agent's `action` (B, A), the noise and `temperature` (B, 1) -> the next state and the outcome."""

    def __init__(self, world: WorldModel) -> None:
        super().__init__(world)
        self.inputs = [*self.state, "action", *NOISE, "temperature"]
        self.outputs = [*(f"next_{name}" for name in self.state), *OUTCOME]
        action = torch.zeros(2, world.task.actions.size)
        self.example = (self.start, action, self.noise, torch.ones(2, 1))

    def forward(self, state: State, action: Tensor, noise: Noise, temperature: Tensor) -> tuple[Tensor, ...]:
        """See `WorldModel.step`; the action is the agent's."""
        # The exporter translates NumPy, too; but comparisons of float32 with Python's numbers only as float64.
        wanted = torch.from_numpy(self.world.task.actions.to_game(action.double().numpy()))
        following, outcome = self.world.step(state, wanted.float(), noise, temperature)
        return *following.tensors(), *outcome


class Driver(Part):
    """The state -> `action` (B, A) of a controller."""

    def __init__(self, world: WorldModel, config: ControllerConfig, parameters: Tensor) -> None:
        super().__init__(world)
        self.config, self.parameters_vector = config, parameters
        self.inputs, self.outputs = self.state, ["action"]
        self.example = (self.start,)

    def forward(self, state: State) -> Tensor:
        """See `controller.act`."""
        return act(self.config, self.parameters_vector, self.world.observe(state, self.config.observation))


def as_onnx(part: Part) -> bytes:
    """A part as the bytes of an ONNX model, with its weights as float16 where that changes no number."""
    import onnx  # of the extra `onnx`

    model = _trace(part).model_proto
    halve_weights(model.graph)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _trace(part: Part) -> Any:
    """PyTorch's ONNX program of a part. Its remarks are about packages that are not needed, and names of axes."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    batch = torch.export.Dim("batch")
    shapes = tree_map(lambda value: {0: batch}, part.example)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(part, part.example, dynamic_shapes=shapes, strict=True)
        return torch.onnx.export(
            program, input_names=part.inputs, output_names=part.outputs, dynamic_shapes=shapes, dynamo=True,
            verbose=False,
        )  # fmt: skip


def halve_weights(graph: Any) -> None:
    """Store weights as float16, followed by a cast to float32, where this is exact, as it is for a bundle's weights."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for weight in graph.initializer:
        if weight.data_type != TensorProto.FLOAT:
            continue
        value = numpy_helper.to_array(weight)
        with np.errstate(over="ignore"):
            half = value.astype(np.float16)
        if value.size >= SMALL and np.array_equal(half, value):
            casts.append(helper.make_node("Cast", [f"{weight.name}_half"], [weight.name], to=TensorProto.FLOAT))
            weight.CopyFrom(numpy_helper.from_array(half, f"{weight.name}_half"))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
