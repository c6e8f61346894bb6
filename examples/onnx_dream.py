"""A dream with ONNX Runtime and NumPy alone: `python examples/onnx_dream.py [FOLDER [TEMPERATURE]]`.

`python -m training export --onnx FOLDER` writes the folder (default: exported). Neither PyTorch nor this package is
needed then: `pip install onnxruntime numpy`.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "exported")
about = json.loads((folder / "world.json").read_text())
temperature = float(sys.argv[2]) if len(sys.argv) > 2 else about["temperature"]
names = ["begin", "step", "decoder", f"controllers/{about['controllers'][0]}"]
begin, step, decoder, controller = (onnxruntime.InferenceSession(folder / f"{name}.onnx") for name in names)
rng, latent = np.random.default_rng(0), about["latent"]
normal = lambda: rng.standard_normal((1, latent), np.float32)  # noqa: E731
inputs = {"which": rng.integers(about["initial_states"], size=1), "normal": normal()}
state = dict(zip(about["state"], begin.run(None, inputs), strict=True))
score, terminated = 0.0, [False]
while not terminated[0] and state["ticks"][0] < about["tick_limit"]:
    noise = {"noise_normal": normal(), "noise_uniform": rng.random((1, latent), np.float32)}
    noise["noise_termination"] = rng.random(1, np.float32)
    (action,) = controller.run(None, state)
    inputs = {**state, **noise, "action": action, "temperature": np.full((1, 1), temperature, np.float32)}
    *following, reward, terminated, _probability = step.run(None, inputs)
    state, score = dict(zip(about["state"], following, strict=True)), score + float(reward[0])
(frames,) = decoder.run(None, {"latents": state["latents"]})  # (1, 64, 64, 3) uint8, the last picture
print(f"{state['ticks'][0]} ticks, score {score:g}, mean colour {frames.mean(axis=(0, 1, 2)).round()}")
