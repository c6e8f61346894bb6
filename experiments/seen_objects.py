"""What V sees: the share of Take Cover's imps and fireballs that are in its pictures, by kind and distance.

ViZDoom's labels say where the objects are; they are used for this measurement only. An object is seen if the picture
that V makes has at least half of the frame's contrast between the object and the pixels beside it.

python -m experiments.seen_objects takecover RUN/round-0/vision.safetensors
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.scripts import run_script, script_parser
from training.acting.rollout import random_frames
from training.data.latent_cache import load_vision
from training.judging.vision_metrics import reconstruct
from wm_envs.games.take_cover.game import CROP_ROWS, SCREEN_WIDTH, TakeCoverGame
from wm_envs.games.take_cover.task import TAKE_COVER
from wm_envs.models.vision.base import Vision
from wm_envs.worlds.bundle import load_world

FAINT = 0.06  # contrast of the frame, of 1, below which nobody can see an object
EVERY = 12  # ticks between measured frames


class Thing(NamedTuple):
    """One visible object of one frame."""

    frame: int
    kind: str
    box: tuple[int, int, int, int]  # first column, last, first row, last, in the frame


def kind_of(label: Any, player: NDArray[Any], imps: int) -> str:
    """The row of the table an object belongs to. Three imps stand in their places from the start."""
    if label.object_name == "DoomImp":
        if round(label.object_position_y) in (20, 278, 652):
            return "the three first imps"
        return "later imps, up to 4 in sight" if imps <= 4 else "later imps, 5 and more in sight"
    away = math.dist((label.object_position_x, label.object_position_y), player)
    near, far = next(pair for pair in ((0, 150), (150, 300), (300, 450), (450, 9999)) if away < pair[1])
    return f"fireballs at {near} to {far}" if far < 9999 else f"fireballs beyond {near}"


def play(episodes: int) -> tuple[NDArray[np.uint8], list[Thing]]:
    """Frames (N, 64, 64, 3) of random play, and the objects in them."""
    game, frames, things = TakeCoverGame(objects=True), [], []
    across, down = 64 / SCREEN_WIDTH, 64 / CROP_ROWS
    for episode in range(episodes):
        rng = np.random.default_rng(episode)
        for tick, frame in enumerate(random_frames(game, TAKE_COVER, 150_000 + episode, rng)):
            if tick % EVERY == 0:
                state = game._game.get_state()
                labels = [label for label in state.labels if label.object_name in TAKE_COVER.objects]
                imps = sum(label.object_name == "DoomImp" for label in labels)
                for label in labels:
                    rows = int(label.y * down), min(64, math.ceil((label.y + label.height) * down))
                    columns = int(label.x * across), math.ceil((label.x + label.width) * across)
                    things.append(Thing(len(frames), kind_of(label, state.game_variables, imps), (*columns, *rows)))
                frames.append(frame)
    game.close()
    return np.stack(frames), things


def contrast(picture: NDArray[np.float32], box: tuple[int, int, int, int]) -> float:
    """Mean brightness of the middle of a box of a picture (64, 64), minus that of the two pixels on either side."""
    left, right, top, bottom = box
    middle = picture[top:bottom, (left + right - 1) // 2 : (left + right) // 2 + 1]
    if right - left > 3:
        middle = picture[top:bottom, left + 1 : right - 1]
    beside = np.concatenate([picture[top:bottom, left - 2 : left], picture[top:bottom, right : right + 2]], axis=1)
    return float(middle.mean() - beside.mean())


def seen(vision: Vision, frames: NDArray[np.uint8], things: list[Thing]) -> dict[str, list[bool]]:
    """For every kind, whether each object is in V's picture."""
    real, drawn = frames.mean(-1, dtype=np.float32) / 255, reconstruct(vision, frames).mean(-1)
    found: dict[str, list[bool]] = {}
    for thing in things:
        left, right, top, bottom = thing.box
        if left < 3 or right > 61 or top >= bottom:  # no pixels beside it
            continue
        there = contrast(real[thing.frame], thing.box)
        if abs(there) >= FAINT:
            found.setdefault(thing.kind, []).append(contrast(drawn[thing.frame], thing.box) / there > 0.5)
    return found


def main() -> None:
    """Print a table for each V."""
    parser = script_parser("seen_objects", __doc__)
    parser.add_argument("visions", nargs="+", help="worlds, or checkpoints of V")
    parser.add_argument("--episodes", type=int, default=60)
    options = parser.parse_args()
    frames, things = play(options.episodes)
    print(f"{len(frames)} frames")
    for name in options.visions:
        path = Path(name)
        vision = load_vision(path) if path.suffix == ".safetensors" else load_world(name).vision
        print(name)
        for kind, values in sorted(seen(vision, frames, things).items()):
            print(f"  {kind:<32} {np.mean(values):.2f} of {len(values)}")


if __name__ == "__main__":
    run_script(main)
