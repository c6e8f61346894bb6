"""Speed of M's training with and without the memory that the allocator keeps, in turn; see training/infra/allocator.py.

python benchmarks/training_speed.py
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

import torch

from training.data.sequences import SequenceBatch
from training.infra.allocator import keep_freed_memory
from training.stages.memory import train_batch
from wm_envs.models.memory.autoregressive import AutoregressiveConfig
from wm_envs.models.memory.registry import memory_kinds

STEPS, ROWS, LATENTS = 48, 256, 64


def steps_per_second(kind: str, batches: int) -> float:
    """Steps of training a second, on random latents, after two batches."""
    config, network = memory_kinds()[kind]
    extra = {"active": tuple(range(14))} if config is AutoregressiveConfig else {}
    memory = network(config(LATENTS, 1, 512, 5, **extra))
    optimizer = torch.optim.Adam(memory.parameters(), 1e-4, fused=True)
    ones = torch.ones(STEPS, ROWS)
    batch = SequenceBatch(
        torch.randn(STEPS, ROWS, LATENTS), torch.zeros(STEPS, ROWS, 1), torch.zeros(STEPS, ROWS),
        torch.zeros(STEPS, ROWS, dtype=torch.int64), torch.randn(STEPS, ROWS, LATENTS), ones, torch.zeros(STEPS, ROWS),
    )  # fmt: skip
    state, start = memory.initial_state(ROWS), 0.0
    for index in range(batches + 2):
        if index == 2:
            start = time.perf_counter()
        state = train_batch(memory, optimizer, batch, state)
    return batches * STEPS * ROWS / (time.perf_counter() - start)


def main() -> None:
    """Each way in processes of its own, in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("KIND", "KEEP"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        kind, keep = options.one
        if keep == "kept":
            keep_freed_memory()
        print(steps_per_second(kind, options.batches))
        return
    for kind in memory_kinds():
        found: dict[str, list[float]] = {"returned": [], "kept": []}
        for _ in range(options.rounds):
            for keep, values in found.items():
                command = [sys.executable, __file__, "--batches", str(options.batches), "--one", kind, keep]
                values.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        best = {keep: max(values) for keep, values in found.items()}
        ratio = best["kept"] / best["returned"]
        print(f"{kind}: {best['returned']:,.0f} steps/s, memory kept {best['kept']:,.0f}: {ratio:.2f} times as many")


if __name__ == "__main__":
    main()
