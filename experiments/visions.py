"""Kinds of V side by side: the paper's, with more weight on what moves, other KLs, VAE-GAN.

    python -m experiments.visions RUN --out visions --seeds 0 1 2

Each V learns from the store of RUN (a VAE-GAN goes on from a VAE), and is kept as a run folder of its own in OUT, so
that the same command goes on. Held-out frames give the table. `unexplained` is the error as a share of the difference
from the mean picture (1: V draws only that), `feature distance` is the mean squared difference between what the encoder
of the shipped V, which none of these has seen, makes of a frame and of its reconstruction, as a share of the variance
between frames. `jump` is the mean change of the mean latents from one tick to the next, against the spread of these
latents. OUT/visions.png has real frames, what each V makes of them, and what its decoder makes of draws from the prior.
With `--play`, M and C learn from each V, with the budget of `budgets.py`, and the game judges.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.budgets import HEADER_OF_PLAY, Played, cells_of_play, folder_name, learn_and_play
from experiments.scripts import number_or_word, run_script, script_parser
from training.data.episode_store import Part, RolloutStore
from training.data.frame_batches import FrameBlocks
from training.data.latent_cache import encode_frames, load_vision
from training.infra.folders import link_folder
from training.infra.records import read_result, write_result
from training.infra.run_folder import RunFolder
from training.judging import vision_metrics
from training.reporting.pictures import save_strip, to_bytes
from training.stages import vision
from wm_envs.models.vision.base import Vision, to_images
from wm_envs.worlds.bundle import load_world

VARIANTS: dict[str, dict[str, Any]] = {
    "the paper's": {"motion": 0.0},
    "the paper's, KL without a floor": {"motion": 0.0, "kl_floor": 1e-6},
    "moving pixels weigh more (default)": {},
    "floor of 8 nats": {"kl_floor": 8.0},
    "floor of 64 nats": {"kl_floor": 64.0},
    "error times 0.3 (KL times 3)": {"scale": 0.3},
    "error times 3 (KL times 0.3)": {"scale": 3.0},
    "VAE-GAN from nothing": {"kind": "vae-gan"},
    "VAE-GAN": {"kind": "vae-gan", "learning_rate": 3e-4, "gamma": 0.1},
    "as long as the VAE-GAN": {},
    "the paper's, calibrated": {"motion": 0.0, "error": "calibrated"},
    "residual": {"motion": 0.0, "kind": "residual-vae"},
    "residual, calibrated": {"motion": 0.0, "kind": "residual-vae", "error": "calibrated"},
}


# A VAE-GAN begins as the default V. A batch of it takes about three times as long, so 2.5 is fair.
AFTER, SHARES = {"VAE-GAN": "moving pixels weigh more (default)"}, {"VAE-GAN": 0.5, "as long as the VAE-GAN": 2.5}


def folder_of(variant: str, seed: int, given: argparse.Namespace) -> Path:
    """The run folder of a V."""
    return Path(given.out) / f"{folder_name(variant)}-{seed}"


def train(variant: str, seed: int, given: argparse.Namespace) -> Vision:
    """V of a variant; the folder keeps it."""
    run = folder_of(variant, seed, given)
    link_folder(given.run / "rollouts", run / "rollouts")
    start = ""
    if variant in AFTER:
        train(AFTER[variant], seed, given)
        start = str(RunFolder(folder_of(AFTER[variant], seed, given)).round(0).vision)
    batches = round(given.batches * SHARES.get(variant, 1))
    sizes = {"batches": batches, "batch_size": given.batch_size, "checkpoint_every": 100}
    vision.main(vision.Command.flat(run=run, task=given.task, seed=seed, start=start, **sizes | VARIANTS[variant]))
    return load_vision(RunFolder(run).round(0).vision)


def play(variant: str, seed: int, given: argparse.Namespace) -> str:
    """A row of what M and C make of this V; the folder keeps what was found."""
    run = folder_of(variant, seed, given)
    found = run / "played.json"
    if not found.exists():
        write_result(found, learn_and_play(run, given.task, seed, given, {}))
    return " | ".join([variant, str(seed), *cells_of_play(read_result(Played, found))])


@torch.no_grad()
def features(judge: Vision, frames: np.ndarray) -> torch.Tensor:
    """What the judge's convolutions make of frames (N, 64, 64, 3): (N, F)."""
    return torch.cat([judge.encoder(to_images(part)).flatten(1) for part in torch.from_numpy(frames).split(256)])


def measure(made: Vision, judge: Vision, held_out: list[Part], frames: np.ndarray, near: np.ndarray) -> np.ndarray:
    """A row of the table, without its name."""
    metrics = vision_metrics.measure(made, frames, near)
    copies = to_bytes(vision_metrics.reconstruct(made, frames))
    real, copied = features(judge, frames), features(judge, copies)
    distance = float((real - copied).square().mean() / real.var(0).mean())
    means, _ = encode_frames(made, held_out[0].read(0, 400))
    jump = float((means[1:] - means[:-1]).abs().mean() / means.std(0).mean())
    shown = [metrics.error, metrics.unexplained, metrics.moving_unexplained, metrics.kl, metrics.active]
    return np.array([*shown, distance, jump])


@torch.no_grad()
def rows(made: Vision, frames: np.ndarray) -> list[np.ndarray]:
    """Strips (64, 64 * N, 3) of reconstructions, and of as many draws from the prior."""
    drawn = made.decode(torch.randn(len(frames), made.config.latent, generator=torch.Generator().manual_seed(0)))
    found = vision_metrics.reconstruct(made, frames), drawn.permute(0, 2, 3, 1).numpy()
    return [to_bytes(part) for part in found]


def main() -> None:
    parser = script_parser("visions", __doc__)
    parser.add_argument("run", type=Path, help="a run folder with a store")
    parser.add_argument("--out", type=Path, default=Path("visions"))
    parser.add_argument(
        "--variants",
        nargs="+",
        default=list(VARIANTS),
        choices=list(VARIANTS),
        metavar="NAME",
        help="; ".join(VARIANTS),
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--batches", type=int, default=600)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--judge", default="takecover-paper", help="the world whose V measures the feature distance")
    parser.add_argument("--play", action="store_true")
    parser.add_argument("--episodes", type=int, default=100, help="of the game, for --play")
    parser.add_argument("--workers", type=number_or_word, default="cores", help="worker processes; cores: one per core")
    given = parser.parse_args()
    given.task = RolloutStore(given.run / "rollouts").parts[0].attributes["task"]
    judge = load_world(given.judge).vision
    _, held_out = RolloutStore(given.run / "rollouts").split()
    frames, near = FrameBlocks(held_out, seed=1, chunks=64).read(0)
    strips = [frames[:12]]
    print("V | error | unexplained | unexplained of what moves | KL | active | feature distance | jump")
    for variant in given.variants:
        each = []
        for seed in given.seeds:
            made = train(variant, seed, given)
            each.append(measure(made, judge, held_out, frames, near))
            strips += rows(made, frames[:12]) if seed == given.seeds[0] else []
        mean, spread = np.mean(each, axis=0), np.std(each, axis=0)
        cells = [f"{a:.3g} +- {b:.2g}" if len(each) > 1 else f"{a:.3g}" for a, b in zip(mean, spread, strict=True)]
        print(" | ".join([variant, *cells]), flush=True)
    if given.play:
        print(f"V | seed | {HEADER_OF_PLAY}")
        for variant in given.variants:
            for seed in given.seeds:
                print(play(variant, seed, given), flush=True)
    save_strip(given.out / "visions.png", np.stack([np.concatenate(list(part)) for part in zip(*strips, strict=True)]))


if __name__ == "__main__":
    run_script(main)
